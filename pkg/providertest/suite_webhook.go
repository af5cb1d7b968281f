package providertest

import (
	"bytes"
	"net/http"
	"testing"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// webhooks wants the signed delivery accepted, and refused with any one byte of its body changed, without its headers, and by an integration that has no secret. Its type
// and id, if it has them, are the same each time.
func (k *kit) webhooks(t *testing.T, handler contracts.WebhookHandler) {
	in := k.integration(t, nil)
	verify := func(in *contracts.Integration, mutate func(req *contracts.WebhookRequest)) error {
		req := k.Webhook(t)
		mutate(req)
		return handler.VerifyWebhookSignature(t.Context(), in, req)
	}
	if err := verify(in, func(*contracts.WebhookRequest) {}); err != nil {
		t.Fatalf("the delivery that the upstream signed is refused: %v", err)
	}
	for i := range k.Webhook(t).Body {
		if verify(in, func(req *contracts.WebhookRequest) { req.Body = bytes.Clone(req.Body); req.Body[i] ^= 1 }) == nil {
			t.Fatalf("a delivery is accepted though byte %d of its body was changed", i)
		}
	}
	if verify(in, func(req *contracts.WebhookRequest) { req.Header = http.Header{} }) == nil {
		t.Error("a delivery is accepted without headers")
	}
	bare := contracts.NewIntegration(contracts.IntegrationFields{ID: in.ID(), Provider: in.Provider(), Name: in.Name()})
	if verify(bare, func(*contracts.WebhookRequest) {}) == nil {
		t.Error("a delivery is accepted by an integration without credentials")
	}
	req, again := k.Webhook(t), k.Webhook(t)
	first, isFirst := handler.ResolveWebhookEvent(req)
	second, isSecond := handler.ResolveWebhookEvent(again)
	if first != second || isFirst != isSecond {
		t.Errorf("the same delivery has the type %q and then %q", first, second)
	}
	if byType := handler.WebhookHandlers(); isFirst && len(byType) > 0 && byType[first] == nil {
		t.Errorf("the provider has handlers, but none for the type %q of the delivery that was given", first)
	}
	if id, ok := handler.WebhookDeliveryID(req); ok && id == "" {
		t.Error("the delivery's id is empty: return false where there is none")
	}
}
