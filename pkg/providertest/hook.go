package providertest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// hook is a provider that takes webhooks, under test.
type hook struct {
	*kit
	contracts.WebhookHandler
}

// handled is what became of a delivery.
type handled struct {
	items []Item
	err   error
	// requests is how often the handler asked the upstream.
	requests int
}

// lost is how a delivery that brought nothing is lost without another try; empty when it is not.
func (h handled) lost() string {
	if h.err == nil {
		return "done"
	}
	if _, ok := contracts.AsSkip(h.err); ok {
		return "skipped"
	}
	return ""
}

// handlerFor is what handles a delivery, nil when its type is ignored.
func (h hook) handlerFor(req *contracts.WebhookRequest) contracts.WebhookFunc {
	if event, ok := h.ResolveWebhookEvent(req); ok {
		if byType := h.WebhookHandlers(); len(byType) > 0 {
			return byType[event]
		}
	}
	return h.HandleWebhook
}

// deliver has a copy of a delivery handled as a worker does.
func (h hook) deliver(t *testing.T, req *contracts.WebhookRequest, session *Session, upstream *recorder) handled {
	t.Helper()
	req = cloned(req)
	call := h.handlerFor(req)
	if call == nil {
		return handled{}
	}
	h.sessions = append(h.sessions, session)
	var value any
	before := cloned(req)
	err := h.guarded(t, "the handler of the delivery", func() (err error) {
		value, err = call(contracts.WithDispatcher(h.context(t), session), h.integration(t, upstream), req)
		return err
	})
	session.end()
	h.checkError(t, err)
	if !bytes.Equal(before.Body, req.Body) || !sameHeader(before.Header, req.Header) {
		t.Error("the handler changes the body of the delivery, or its headers: another try would see others")
	}
	if raw, err := json.Marshal(value); err != nil {
		t.Errorf("what the handler returns can't be kept as JSON: %v", err)
	} else {
		h.noSecret(t, "what the handler returns", string(raw))
	}
	return handled{items: session.Items(), err: err, requests: upstream.count()}
}

// good is the handling of a delivery that must not fail.
func (h hook) good(t *testing.T, req *contracts.WebhookRequest) handled {
	t.Helper()
	got := h.deliver(t, req, &Session{}, h.upstream())
	if _, skipped := contracts.AsSkip(got.err); got.err != nil && !skipped {
		t.Errorf("the handler of the delivery that was given fails: %v", got.err)
	}
	return got
}

// cloned is a copy that shares nothing with the request.
func cloned(req *contracts.WebhookRequest) *contracts.WebhookRequest {
	other := *req
	other.Header, other.Body = req.Header.Clone(), bytes.Clone(req.Body)
	return &other
}

func sameHeader(a, b http.Header) bool { return maps.EqualFunc(a, b, slices.Equal[[]string]) }

// hung cancels a call while the upstream that it asks does not answer, and returns its error. asked is false when it has asked nothing.
func (k *kit) hung(t *testing.T, what string, call func(ctx context.Context, upstream http.RoundTripper) error) (err error, asked bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(k.context(t))
	defer cancel()
	released, began := make(chan struct{}), make(chan struct{})
	defer close(released)
	begin := sync.OnceFunc(func() { close(began) })
	hanging := transportFunc(func(req *http.Request) (*http.Response, error) {
		begin()
		select {
		case <-req.Context().Done():
			return nil, req.Context().Err()
		case <-released:
			return nil, errors.New("the test is over")
		}
	})
	result := make(chan outcome, 1)
	go func() { result <- attempt(what, func() error { return call(ctx, hanging) }) }()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-began:
	case o := <-result:
		return o.err, false
	case <-timer.C:
		t.Errorf("%s neither asks the upstream nor returns", what)
		return nil, false
	}
	cancel()
	select {
	case o := <-result:
		return o.err, true
	case <-timer.C:
		t.Errorf("%s does not notice that its context is done: make its requests with the context that it is given", what)
		return nil, false
	}
}
