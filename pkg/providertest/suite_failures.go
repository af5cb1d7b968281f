package providertest

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// wait is what the suite's upstream asks for when it is asked too often.
const wait = 17 * time.Second

// refusals are the ways in which the suite's upstream fails.
func refusals() map[string]*answerer {
	cut := answering(http.StatusOK, `[{"id":`)
	cut.cut = true
	return map[string]*answerer{
		"500":               answering(http.StatusInternalServerError, ""),
		"401":               answering(http.StatusUnauthorized, ""),
		"403":               answering(http.StatusForbidden, ""),
		"404":               answering(http.StatusNotFound, ""),
		"refused":           {fails: true},
		"malformed":         answering(http.StatusOK, `[{"`),
		"not what it was":   answering(http.StatusOK, `<html>welcome to the hotel's network</html>`),
		"cut body":          cut,
		"200 with an error": answering(http.StatusOK, `{"error":"temporarily unavailable","errors":[{"message":"temporarily unavailable"}]}`),
	}
}

// failures checks what a sync makes of an upstream that fails: at its first request, and in the middle.
func (k *kit) failures(t *testing.T, provider contracts.ScheduledSync) {
	for name, refusal := range refusals() {
		session := &Session{}
		err := k.failing(t, provider, session, 1, refusal)
		if err == nil {
			t.Errorf("%s: the sync ends as if it were complete", name)
		}
		if len(session.Items()) > 0 {
			t.Errorf("%s: %d items were dispatched", name, len(session.Items()))
		}
		passes(t, name, err)
		if _, deferred := contracts.AsDeferral(err); deferred && (name == "401" || name == "404") {
			t.Errorf("%s: the sync asks to wait, but no wait mends it: %v", name, err)
		}
	}
	last := k.requests(t, provider)
	for _, at := range distinct(2, (last+2)/2, last) {
		if at < 2 || at > last {
			continue
		}
		for name, refusal := range refusals() {
			err := k.failing(t, provider, &Session{}, at, refusal)
			if err == nil {
				t.Errorf("%s at request %d of %d: the sync ends as if it were complete", name, at, last)
			}
			passes(t, name, err)
		}
		k.throttled(t, provider, at)
	}
	k.throttled(t, provider, 1)
	k.strange(t, provider)
	k.quoted(t, provider)
}

// passes checks that what may be over the next time is not reported as permanent.
func passes(t *testing.T, name string, err error) {
	t.Helper()
	if slices.Contains([]string{"500", "refused", "malformed", "not what it was", "cut body"}, name) && contracts.IsPermanent(err) {
		t.Errorf("%s: the sync returns a permanent error, but the upstream may be well the next time: %v", name, err)
	}
}

// failing is a sync of an upstream whose requests from some number on are answered with a refusal.
func (k *kit) failing(t *testing.T, provider contracts.ScheduledSync, session *Session, from int, refusal *answerer) error {
	t.Helper()
	upstream := k.upstream()
	upstream.before = func(n int) *answerer {
		if n < from {
			return nil
		}
		return refusal
	}
	return k.run(t, provider.Sync, session, upstream)
}

// requests is how many requests a full sync makes.
func (k *kit) requests(t *testing.T, provider contracts.ScheduledSync) int {
	t.Helper()
	upstream := k.upstream()
	if err := k.run(t, provider.Sync, &Session{}, upstream); err != nil {
		t.Fatalf("Sync: %v", err)
	}
	return upstream.count()
}

// throttled wants a deferral of the time that the upstream asks for, at once.
func (k *kit) throttled(t *testing.T, provider contracts.ScheduledSync, at int) {
	t.Helper()
	limited := answering(http.StatusTooManyRequests, "")
	limited.header = http.Header{"Retry-After": {strconv.Itoa(int(wait.Seconds()))}}
	ctx, cancel := context.WithTimeoutCause(t.Context(), patience, errors.New("the sync waits by itself"))
	defer cancel()
	within := func(_ context.Context, in *contracts.Integration, session contracts.SyncSession) error {
		return provider.Sync(contracts.WithAttempts(ctx, 1), in, session)
	}
	upstream := k.upstream()
	upstream.before = func(n int) *answerer {
		if n < at {
			return nil
		}
		return limited
	}
	err := k.run(t, within, &Session{}, upstream)
	if deferral, ok := contracts.AsDeferral(err); !ok || deferral.Delay != wait || contracts.IsPermanent(err) {
		t.Errorf("429 with a Retry-After of %s at request %d: the sync returns %v, want a deferral of that time", wait, at, err)
	}
	if again := upstream.again(at); again != "" {
		t.Errorf("429 with a Retry-After of %s at request %d: the sync goes on to ask for %s, which it has asked for before. Return the error at once: the platform waits",
			wait, at, again)
	}
	if ctx.Err() != nil {
		t.Fatalf("429 with a Retry-After of %s at request %d: the sync waits by itself and holds its slot", wait, at)
	}
}

// strange wants no panic over answers that are JSON, and not what they should be. Any error will do. An upstream that gives the same page for ever gives up at last.
func (k *kit) strange(t *testing.T, provider contracts.ScheduledSync) {
	const pages = 20
	for _, body := range []string{`null`, `{}`, `[]`, `[null]`, `[{}]`, `[[]]`, `""`, `0`, `{"data":null}`, `{"data":[null]}`, `{"items":{}}`} {
		upstream := k.upstream()
		upstream.before = func(n int) *answerer {
			if n > pages {
				return answering(http.StatusInternalServerError, "")
			}
			return answering(http.StatusOK, body)
		}
		_ = k.run(t, provider.Sync, &Session{}, upstream)
	}
}

// cancellation checks that a sync ends when its context does: while it waits for the upstream, and between two items.
func (k *kit) cancellation(t *testing.T, provider contracts.ScheduledSync) {
	err, asked := k.hung(t, "the sync", func(ctx context.Context, upstream http.RoundTripper) error {
		return provider.Sync(ctx, k.integration(t, upstream), &Session{})
	})
	k.checkError(t, err)
	switch {
	case asked && (!errors.Is(err, context.Canceled) || contracts.IsPermanent(err)):
		t.Errorf("while the upstream hangs: the sync returns %v, want the context's error", err)
	case !asked && !t.Failed():
		t.Errorf("the sync asks the upstream nothing, and returns %v", err)
	}

	ctx, cancel := context.WithCancel(k.context(t))
	defer cancel()
	var mu sync.Mutex
	refused, more := map[string]bool{}, 0
	session := &Session{OnDispatch: func(Item) error {
		mu.Lock()
		defer mu.Unlock()
		// Goroutines that dispatch side by side are refused one by one. One that was refused should stop.
		if id := goroutine(); refused[id] {
			more++
		} else {
			refused[id] = true
		}
		cancel()
		return ctx.Err()
	}}
	err = k.guarded(t, "the sync", func() error { return provider.Sync(ctx, k.integration(t, nil), session) })
	if !errors.Is(err, context.Canceled) || contracts.IsPermanent(err) {
		t.Errorf("cancelled at the first item: the sync returns %v, want what Dispatch returned", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if more > 0 {
		t.Errorf("cancelled at the first item: %d more were dispatched", more)
	}
}
