package providertest_test

import (
	"context"
	"crypto/hmac"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

func (f flawed) VerifyWebhookSignature(_ context.Context, in *contracts.Integration, req *contracts.WebhookRequest) error {
	credentials, err := contracts.CredentialsOf[secrets](in)
	if err != nil {
		return err
	}
	given := req.Header.Get("X-Signature")
	switch {
	case f.is("accepts every delivery"), f.is("accepts unsigned deliveries") && given == "":
		return nil
	case f.is("verification panics without a signature"):
		_ = req.Header["X-Signature"][0]
	case f.is("signs only the beginning"):
		if given != "" && credentials.Secret != "" && strings.HasPrefix(string(req.Body), `{"note"`) {
			return nil
		}
	case f.is("secret in a refusal"):
		if !hmac.Equal([]byte(given), []byte(signature(req.Body))) {
			return fmt.Errorf("not signed with %s", credentials.Secret)
		}
	case f.is("accepts without a secret") && credentials.Secret == "":
		return nil
	case f.is("compares signatures in the time of their likeness") && credentials.Secret != "":
		if given == signature(req.Body) {
			return nil
		}
	}
	if credentials.Secret == "" || !hmac.Equal([]byte(given), []byte(signature(req.Body))) {
		return errors.New("the signature is wrong")
	}
	return nil
}

func (f flawed) ResolveWebhookEvent(req *contracts.WebhookRequest) (string, bool) {
	if f.is("random types of deliveries") {
		return fmt.Sprint("note.", rand.Uint64()), true
	}
	var body struct{ Type string }
	_ = json.Unmarshal(req.Body, &body)
	return body.Type, body.Type != ""
}

func (f flawed) WebhookHandlers() map[string]contracts.WebhookFunc {
	if f.is("handlers for other types") {
		return map[string]contracts.WebhookFunc{"note.deleted": f.HandleWebhook}
	}
	return nil
}

func (f flawed) WebhookDeliveryID(req *contracts.WebhookRequest) (string, bool) {
	switch f.flaw {
	case "constant delivery ids":
		return "delivery", true
	case "random delivery ids":
		return fmt.Sprint(rand.Uint64()), true
	case "empty delivery ids":
		return "", true
	}
	id := req.Header.Get("X-Delivery")
	return id, id != ""
}

func (f flawed) WebhookOrderingKey(req *contracts.WebhookRequest) (string, bool) {
	var body struct{ Note note }
	_ = json.Unmarshal(req.Body, &body)
	switch f.flaw {
	case "one ordering key for all":
		return "note", true
	case "random ordering keys":
		return fmt.Sprint(rand.Uint64()), true
	}
	return body.Note.ID, body.Note.ID != ""
}

// pushed is another type than the sync's.
type pushed note

func (f flawed) HandleWebhook(ctx context.Context, in *contracts.Integration, req *contracts.WebhookRequest) (any, error) {
	var body struct {
		Note *note `json:"note"`
	}
	if err := json.Unmarshal(req.Body, &body); err != nil {
		if f.is("takes garbled deliveries for done") {
			return nil, nil
		}
		return nil, contracts.Permanent(err)
	}
	if body.Note == nil && !f.is("a handler that expects a note") {
		return nil, contracts.Permanent(errors.New("the delivery is about no note"))
	}
	n := *body.Note
	switch f.flaw {
	case "the handler does nothing":
		return "done", nil
	case "the handler panics":
		panic("not yet written")
	case "the handler fails":
		return nil, errors.New("not yet written")
	case "the handler skips everything":
		return nil, contracts.Skip("later")
	case "the handler changes the body":
		req.Body[len(req.Body)-1] = ' '
	case "the handler returns what is not JSON":
		return math.Inf(1), contracts.Dispatch(ctx, n, n.UpdatedAt, n.ID)
	case "the handler returns a secret":
		credentials, _ := contracts.CredentialsOf[secrets](in)
		return credentials, contracts.Dispatch(ctx, n, n.UpdatedAt, n.ID)
	case "another id in a webhook":
		return nil, contracts.Dispatch(ctx, n, n.UpdatedAt, "note-"+n.ID)
	case "another type in a webhook":
		return nil, contracts.Dispatch(ctx, pushed(n), n.UpdatedAt, n.ID)
	case "another checkpoint in a webhook":
		return nil, contracts.Dispatch(ctx, n, req.ReceivedAt, n.ID)
	case "no checkpoint in a webhook":
		return nil, contracts.Dispatch(ctx, n, nil, n.ID)
	}
	return map[string]string{"note": n.ID}, contracts.Dispatch(ctx, n, n.UpdatedAt, n.ID)
}
