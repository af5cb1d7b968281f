package contracts_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// Ordered is Pushes for an upstream that makes sure of its endpoint, and whose deliveries about one note must not overtake each other.
type Ordered struct{ Pushes }

// PushedNote is the record that a delivery brings.
type PushedNote struct {
	ID      string `json:"id"`
	Changed string `json:"changed"`
}

func (Ordered) WebhookChallenge(_ context.Context, _ *contracts.Integration, req *contracts.WebhookRequest) ([]byte,
	bool, error,
) {
	query, _ := url.ParseQuery(req.Query) // what can't be read is no challenge
	if req.Method != http.MethodGet || !query.Has("challenge") {
		return nil, false, nil
	}
	return []byte(query.Get("challenge")), true, nil
}

func (Ordered) WebhookOrderingKey(req *contracts.WebhookRequest) (string, bool) {
	var note PushedNote
	err := json.Unmarshal(req.Body, &note)
	return "note/" + note.ID, err == nil && note.ID != ""
}

func (Ordered) HandleWebhook(ctx context.Context, _ *contracts.Integration, req *contracts.WebhookRequest) (any,
	error,
) {
	var note PushedNote
	if err := json.Unmarshal(req.Body, &note); err != nil {
		return nil, contracts.Permanent(err)
	}
	return nil, contracts.Dispatch(ctx, note, note.Changed, note.ID)
}

func ExampleWebhookChallenger() {
	var challenger contracts.WebhookChallenger = Ordered{}
	in := contracts.NewIntegration(contracts.IntegrationFields{Name: "kitchen"})
	answer, ok, err := challenger.WebhookChallenge(context.Background(), in,
		&contracts.WebhookRequest{Method: http.MethodGet, Query: "challenge=42"})
	fmt.Println(string(answer), ok, err)
	// Output: 42 true <nil>
}

func ExampleWebhookOrderer() {
	var orderer contracts.WebhookOrderer = Ordered{}
	fmt.Println(orderer.WebhookOrderingKey(&contracts.WebhookRequest{Body: []byte(`{"id":"n1"}`)}))
	// Output: note/n1 true
}

// printer is a dispatcher for the test of a handler.
type printer struct{}

func (printer) Dispatch(_ context.Context, event, checkpoint any, externalID string) error {
	fmt.Println(contracts.EventType(event), externalID, checkpoint)
	return nil
}

// A delivery brings a record, which goes the way of those that a sync enumerates.
func ExampleDispatch() {
	ctx := contracts.WithDispatcher(context.Background(), printer{})
	in := contracts.NewIntegration(contracts.IntegrationFields{Name: "kitchen"})
	_, err := Ordered{}.HandleWebhook(ctx, in, &contracts.WebhookRequest{Body: []byte(`{"id":"n1","changed":"2024-03-01T09:00:00Z"}`)})
	fmt.Println(err)
	// Output:
	// contracts_test.PushedNote n1 2024-03-01T09:00:00Z
	// <nil>
}
