package providertest

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// garbled wants an error for a delivery that can't be read, and no panic for one that is JSON of another form.
func (h hook) garbled(t *testing.T, delivery *contracts.WebhookRequest) {
	if h.handlerFor(delivery) == nil {
		return
	}
	for _, body := range []string{``, `{"`, `null`, `{}`, `[]`, `"text"`, `0`} {
		req := cloned(delivery)
		req.Body = []byte(body)
		session, err := h.strange(t, fmt.Sprintf("of a delivery with the body %q", body), req)
		if body == `{"` {
			if _, skipped := contracts.AsSkip(err); err == nil {
				t.Error("a delivery whose body is not what it should be is handled as if it were done")
			} else if !skipped && !contracts.IsPermanent(err) {
				t.Errorf("a delivery whose body is not what it should be would be tried again for hours, and stay as it is: "+
					"return contracts.Permanent of the error (%v)", err)
			}
		}
		if items := session.Items(); len(items) > 0 {
			t.Errorf("a delivery with the body %s dispatches %s", body, items[0].Event)
		}
	}
}

// altered wants no panic when a field of a delivery is missing, or is a text that the provider does not know.
func (h hook) altered(t *testing.T, delivery *contracts.WebhookRequest) {
	body, ok := parsed(delivery.Body)
	if !ok {
		return
	}
	const most = 400
	tried := 0
	walk(body, nil, func(path []any, value any) {
		instead := []any{nil}
		switch value.(type) {
		case string:
			instead = append(instead, "unknown-to-you")
		case []any:
			instead = append(instead, []any{})
		}
		for _, other := range instead {
			if tried++; tried > most || len(path) == 0 {
				return
			}
			raw, err := json.Marshal(replaced(body, path, other))
			if err != nil {
				t.Fatal(err)
			}
			req := cloned(delivery)
			req.Body = raw
			_, _ = h.strange(t, fmt.Sprintf("of a delivery whose field %v is %s", path, shown(other)), req)
		}
	})
}

// strange calls all methods with a delivery that the author may not have thought of. Any answer will do, but no panic.
func (h hook) strange(t *testing.T, which string, req *contracts.WebhookRequest) (*Session, error) {
	t.Helper()
	in, session := h.integration(t, answering(404, "")), &Session{}
	ask := func(method string, call func()) {
		_ = h.guarded(t, method+" "+which, func() error { call(); return nil })
	}
	ask("ResolveWebhookEvent", func() { h.ResolveWebhookEvent(req) })
	ask("WebhookDeliveryID", func() { h.WebhookDeliveryID(req) })
	if orderer, ok := h.WebhookHandler.(contracts.WebhookOrderer); ok {
		ask("WebhookOrderingKey", func() { orderer.WebhookOrderingKey(req) })
	}
	if sharer, ok := h.WebhookHandler.(contracts.WebhookSharer); ok {
		ask("WebhookAccount", func() { sharer.WebhookAccount(req) })
	}
	ask("VerifyWebhookSignature", func() { _ = h.VerifyWebhookSignature(h.context(t), in, req) })
	call := h.handlerFor(req)
	if call == nil {
		return session, nil
	}
	err := h.guarded(t, "the handler "+which, func() error {
		_, err := call(contracts.WithDispatcher(h.context(t), session), in, req)
		return err
	})
	h.checkError(t, err)
	return session, err
}
