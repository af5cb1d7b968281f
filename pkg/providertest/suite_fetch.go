package providertest

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"testing"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// refusing is an upstream that answers every request alike.
func (k *kit) refusing(with *answerer) *recorder {
	upstream := k.upstream()
	upstream.before = func(int) *answerer { return with }
	return upstream
}

// upstreamFails checks what the handler of a delivery makes of an upstream that fails when it is asked for the record.
func (h hook) upstreamFails(t *testing.T, delivery *contracts.WebhookRequest, want []Item) {
	answers := refusals()
	answers["{}"] = answering(http.StatusOK, "{}")
	for name, answer := range answers {
		got := h.deliver(t, delivery, &Session{}, h.refusing(answer))
		if difference(want, got.items) == "" {
			continue // the handler can do without the answer
		}
		for _, item := range got.items {
			if !slices.Contains(want, item) {
				t.Errorf("the upstream answers the handler of a delivery with %s, and it dispatches %s %q: check that the answer is the record",
					name, item.Event, item.ExternalID)
			}
		}
		lost := got.lost()
		switch {
		case name == "403" || name == "404": // the record may be gone
		case lost != "":
			t.Errorf("the upstream answers the handler of a delivery with %s, and the delivery is %s: its record is lost. Return the error", name, lost)
		case contracts.IsPermanent(got.err) && name != "401" && name != "{}":
			t.Errorf("the upstream answers the handler of a delivery with %s, which ends it for good, but the upstream may be well the next time: "+
				"return the error as it is (%v)", name, got.err)
		}
	}
	limited := answering(http.StatusTooManyRequests, "")
	limited.header = http.Header{"Retry-After": {strconv.Itoa(int(wait.Seconds()))}}
	got := h.deliver(t, delivery, &Session{}, h.refusing(limited))
	if deferral, ok := contracts.AsDeferral(got.err); difference(want, got.items) != "" && (!ok || deferral.Delay != wait) {
		t.Errorf("429 with a Retry-After of %s to the handler of a delivery: it returns %v, want a deferral of that time. "+
			"Return the error of Do, or wrap it with %%w", wait, got.err)
	}
	if t.Failed() {
		return // the next check may take its time, and there is enough to mend
	}
	call := h.handlerFor(delivery)
	err, asked := h.hung(t, "the handler of a delivery", func(ctx context.Context, upstream http.RoundTripper) error {
		_, err := call(contracts.WithDispatcher(ctx, &Session{}), h.integration(t, upstream), cloned(delivery))
		return err
	})
	if asked && (handled{err: err}.lost() != "" || contracts.IsPermanent(err)) {
		t.Errorf("the context of the handler of a delivery ends while the upstream hangs: it returns %v, want the context's error", err)
	}
}
