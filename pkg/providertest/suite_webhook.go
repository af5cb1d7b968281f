package providertest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// webhooks wants the signed delivery accepted, and refused with any one byte of its body changed, without its headers, and by an integration that has no secret. Its type
// and id, if it has them, are the same each time.
func (k *kit) webhooks(t *testing.T, handler contracts.WebhookHandler, make func(t testing.TB) *contracts.WebhookRequest) {
	in, delivery := k.integration(t, nil), make(t)
	verify := func(in *contracts.Integration, mutate func(req *contracts.WebhookRequest)) error {
		req := cloned(delivery)
		mutate(req)
		err := k.guarded(t, "VerifyWebhookSignature", func() error { return handler.VerifyWebhookSignature(t.Context(), in, req) })
		k.checkError(t, err)
		return err
	}
	if err := verify(in, func(*contracts.WebhookRequest) {}); err != nil {
		t.Fatalf("the delivery that the upstream signed is refused: %v", err)
	}
	for i := range delivery.Body {
		if verify(in, func(req *contracts.WebhookRequest) { req.Body[i] ^= 1 }) == nil {
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
	req, again := make(t), make(t)
	first, isFirst := handler.ResolveWebhookEvent(req)
	second, isSecond := handler.ResolveWebhookEvent(again)
	if first != second || isFirst != isSecond {
		t.Errorf("the same delivery has the type %q and then %q", first, second)
	}
	if byType := handler.WebhookHandlers(); isFirst && len(byType) > 0 && byType[first] == nil {
		t.Errorf("the provider has handlers, but none for the type %q of the delivery that was given", first)
	}
	k.deliveryID(t, handler, req, again)
	k.handle(t, handler, make(t))
	k.garbled(t, handler, make(t))
}

// cloned is a copy that shares nothing with the request.
func cloned(req *contracts.WebhookRequest) *contracts.WebhookRequest {
	other := *req
	other.Header, other.Body = req.Header.Clone(), bytes.Clone(req.Body)
	return &other
}

// deliveryID checks that an id names one delivery: req and again are the same one.
func (k *kit) deliveryID(t *testing.T, handler contracts.WebhookHandler, req, again *contracts.WebhookRequest) {
	id, ok := handler.WebhookDeliveryID(req)
	if ok && id == "" {
		t.Error("the delivery's id is empty: return false where there is none")
	}
	for range 3 {
		if same, _ := handler.WebhookDeliveryID(req); same != id {
			t.Errorf("the same delivery has the id %q and then %q: a second copy would be handled again", id, same)
			return
		}
	}
	if !bytes.Equal(req.Body, again.Body) || !sameHeader(req.Header, again.Header) {
		return // the fixture makes another delivery each time
	}
	if same, _ := handler.WebhookDeliveryID(again); same != id {
		t.Errorf("the same delivery has the id %q and then %q: a second copy would be handled again", id, same)
	}
}

func sameHeader(a, b http.Header) bool {
	if len(a) != len(b) {
		return false
	}
	for name := range a {
		if !slices.Equal(a[name], b[name]) {
			return false
		}
	}
	return true
}

// handlerOf is what handles a delivery.
func handlerOf(handler contracts.WebhookHandler, req *contracts.WebhookRequest) contracts.WebhookFunc {
	if event, ok := handler.ResolveWebhookEvent(req); ok {
		if byType := handler.WebhookHandlers(); len(byType) > 0 {
			return byType[event]
		}
	}
	return handler.HandleWebhook
}

// handle handles a delivery as a worker does, and returns what it dispatches. ok is false when the handler failed, or skipped it.
func (k *kit) handle(t *testing.T, handler contracts.WebhookHandler, req *contracts.WebhookRequest) (items []Item, ok bool) {
	t.Helper()
	call := handlerOf(handler, req)
	if call == nil {
		return nil, false
	}
	session, body := &Session{}, bytes.Clone(req.Body)
	var value any
	err := k.guarded(t, "the handler of the delivery", func() (err error) {
		value, err = call(contracts.WithDispatcher(k.context(t), session), k.integration(t, nil), req)
		return err
	})
	k.checkError(t, err)
	if !bytes.Equal(body, req.Body) {
		t.Error("the handler changes the body of the delivery: a replay would see another one")
	}
	if _, skipped := contracts.AsSkip(err); err != nil && !skipped {
		t.Errorf("the handler of the delivery that was given fails: %v", err)
		return nil, false
	}
	if raw, err := json.Marshal(value); err != nil {
		t.Errorf("what the handler returns can't be kept as JSON: %v", err)
	} else {
		k.noSecret(t, "what the handler returns", string(raw))
	}
	return session.Items(), err == nil
}

// garbled wants an error for a delivery that can't be read, and no panic for one that is JSON of another form.
func (k *kit) garbled(t *testing.T, handler contracts.WebhookHandler, req *contracts.WebhookRequest) {
	call := handlerOf(handler, req)
	if call == nil {
		return
	}
	for _, body := range []string{`{"`, `null`, `{}`, `[]`, `"text"`} {
		other := *req
		other.Body = []byte(body)
		session := &Session{}
		err := k.guarded(t, "the handler of a delivery with the body "+body, func() error {
			_, err := call(contracts.WithDispatcher(k.context(t), session), k.integration(t, nil), &other)
			return err
		})
		if err == nil && body == `{"` {
			t.Error("a delivery whose body is not what it should be is handled as if it were done")
		}
		if len(session.Items()) > 0 {
			t.Errorf("a delivery with the body %s dispatches %s", body, session.Items()[0].Event)
		}
	}
}

// deliveries checks that a webhook brings the same items as the sync: whichever comes first, the other must find its record.
func (k *kit) deliveries(t *testing.T, provider contracts.ScheduledSync, handler contracts.WebhookHandler) {
	all := k.full(t, provider).Items()
	if len(all) < 2 {
		t.Skip("the fixture's upstream has fewer than two records")
	}
	one, other := all[0], all[len(all)-1]
	if at := slices.IndexFunc(all[1:], func(item Item) bool { return item.Event == one.Event }); at >= 0 {
		other = all[1+at]
	}
	k.webhooks(t, handler, func(t testing.TB) *contracts.WebhookRequest { return k.Delivery(t, one) })
	items, ok := k.handle(t, handler, k.Delivery(t, one))
	if !ok || len(items) == 0 {
		t.Errorf("a delivery about %s %q dispatches nothing", one.Event, one.ExternalID)
		return
	}
	for _, item := range items {
		if item.Event != one.Event || item.ExternalID != one.ExternalID {
			t.Errorf("a delivery about %s %q dispatches %s %q: the sync's record and the webhook's are two", one.Event, one.ExternalID, item.Event, item.ExternalID)
		} else if item.Checkpoint != one.Checkpoint {
			t.Errorf("a delivery about %s %q dispatches the checkpoint %s, the sync %s: neither knows which version is newer",
				one.Event, one.ExternalID, orNone(item.Checkpoint), orNone(one.Checkpoint))
		}
	}
	again, _ := k.handle(t, handler, k.Delivery(t, one))
	if d := difference(items, again); d != "" {
		t.Errorf("the same delivery, handled twice, brings other items: %s", d)
	}
	k.apart(t, handler, k.Delivery(t, one), k.Delivery(t, other))
}

// apart checks that deliveries about two records are told apart.
func (k *kit) apart(t *testing.T, handler contracts.WebhookHandler, one, other *contracts.WebhookRequest) {
	first, hasFirst := handler.WebhookDeliveryID(one)
	second, hasSecond := handler.WebhookDeliveryID(other)
	if hasFirst && hasSecond && first == second {
		t.Errorf("two deliveries about different records have the same id %q: the second is dropped as a copy", first)
	}
	orderer, ok := handler.(contracts.WebhookOrderer)
	if !ok {
		return
	}
	key, hasKey := orderer.WebhookOrderingKey(one)
	if same, _ := orderer.WebhookOrderingKey(one); same != key {
		t.Errorf("the same delivery has the ordering key %q and then %q", key, same)
	}
	if otherKey, hasOther := orderer.WebhookOrderingKey(other); hasKey && hasOther && key == otherKey {
		t.Errorf("deliveries about different records have the same ordering key %q: one that fails holds up all", key)
	}
}

func orNone(checkpoint string) string {
	if checkpoint == "" {
		return "none"
	}
	return strings.TrimSpace(checkpoint)
}
