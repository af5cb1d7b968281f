package providertest

import (
	"bytes"
	"testing"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// webhooks checks what a delivery shows by itself: who may send it, its type and id, and that it is handled.
func (h hook) webhooks(t *testing.T, fixture func(t testing.TB) *contracts.WebhookRequest) {
	delivery := fixture(t)
	h.signature(t, delivery)
	h.keyed(t, delivery)
	h.answersNoDelivery(t, delivery)
	h.handlers(t)
	h.account(t, delivery, false)
	h.deliveryType(t, delivery, fixture(t))
	h.deliveryID(t, delivery, fixture(t))
	h.work(t, delivery)
	h.garbled(t, delivery) // after all else: a provider that remembers ids would know this one
	h.altered(t, delivery)
}

// work checks that a delivery is handled, also when it is tried again, beside others and while the upstream fails.
func (h hook) work(t *testing.T, delivery *contracts.WebhookRequest) {
	got := h.good(t, delivery)
	if len(got.items) == 0 {
		return
	}
	h.again(t, delivery, got.items)
	h.together(t, delivery, got.items)
	if got.requests > 0 {
		h.upstreamFails(t, delivery, got.items)
	}
}

// deliveryType checks that a type is that of one delivery, and has a handler: req and again are the same one.
func (h hook) deliveryType(t *testing.T, req, again *contracts.WebhookRequest) {
	first, isFirst := h.ResolveWebhookEvent(req)
	second, isSecond := h.ResolveWebhookEvent(again)
	if first != second || isFirst != isSecond {
		t.Errorf("the same delivery has the type %q and then %q", first, second)
	}
	if byType := h.WebhookHandlers(); isFirst && len(byType) > 0 && byType[first] == nil {
		t.Errorf("the provider has handlers, but none for the type %q of the delivery that was given", first)
	}
}

// deliveryID checks that an id names one delivery: req and again are the same one.
func (h hook) deliveryID(t *testing.T, req, again *contracts.WebhookRequest) {
	id, ok := h.WebhookDeliveryID(req)
	if ok && id == "" {
		t.Error("the delivery's id is empty: return false where there is none")
	}
	for range 3 {
		if same, _ := h.WebhookDeliveryID(req); same != id {
			t.Errorf("the same delivery has the id %q and then %q: a second copy would be handled again", id, same)
			return
		}
	}
	if !bytes.Equal(req.Body, again.Body) || !sameHeader(req.Header, again.Header) {
		return // the fixture makes another delivery each time
	}
	if same, _ := h.WebhookDeliveryID(again); same != id {
		t.Errorf("the same delivery has the id %q and then %q: a second copy would be handled again", id, same)
	}
}
