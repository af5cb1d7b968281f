package webhookwork

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributaryhq/tributary/internal/budget"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/handling"
	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/contracts"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// maxResult is how much of what a handler returns is kept.
const maxResult = 64 << 10

// errIgnored means that the provider has no handler for the type.
var errIgnored = errors.New("no handler for this type")

// call is one delivery being handled.
type call struct {
	*Worker
	row      *dbsqlc.WebhookClaimRow
	provider contracts.Provider
	in       *contracts.Integration
	// result is what the handler returned, as far as it is kept; resultLost says why it is not.
	result     json.RawMessage
	resultLost foreign.Text
}

// try handles the delivery, and counts the requests of all handlers that takes.
func (c *call) try(ctx context.Context) error {
	usage := &budget.Usage{}
	if err := c.handle(budget.WithUsage(ctx, usage)); err != nil {
		return c.Handlers.Restart(ctx, err, handling.Try{
			In: c.in, Event: c.row.EventType, ID: c.row.DeliveryID, Deferrals: c.row.Deferrals, Usage: usage,
		})
	}
	return nil
}

// handle takes a delivery to its handler, and what that dispatches to the handlers of its kind.
func (c *call) handle(ctx context.Context) (err error) {
	if c.provider, err = c.Registry.Provider(c.row.Provider); err != nil {
		return contracts.Permanent(err)
	}
	handler, ok := c.provider.(contracts.WebhookHandler)
	if !ok {
		return contracts.Permanent(fmt.Errorf("provider %q takes no webhooks", c.row.Provider))
	}
	if c.in, err = c.Integrations.Load(ctx, c.row.IntegrationID, c.row.IntegrationVersion); err != nil {
		return handling.PutOff(err)
	}
	req, err := c.request()
	if err != nil {
		return err
	}
	to, err := handling.Ask(ctx, c.Handlers, "the provider", func() (routed, error) { return route(handler, req) })
	if errors.Is(err, errIgnored) {
		return c.ignore(ctx, to.event)
	}
	if err != nil {
		return err
	}
	dispatches := &session{}
	value, err := c.call(contracts.WithDispatcher(ctx, dispatches), to.fn, req)
	dispatched := dispatches.close()
	if err != nil {
		return err
	}
	if err := dispatches.guard.Verdict(func(late error) { c.lost(ctx, late) }); err != nil {
		return err
	}
	c.result, c.resultLost = c.encodeResult(ctx, value)
	return c.handleItems(ctx, dispatched)
}

// call runs the handler, which may panic, or go on though its time is up: then it is left behind.
func (c *call) call(ctx context.Context, fn contracts.WebhookFunc, req *contracts.WebhookRequest) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Handlers.Settings.Timeout)
	defer cancel()
	ctx = contracts.WithAttempt(ctx, contracts.Attempt{
		Item: "webhook/" + c.row.ID.String(), ExternalID: c.row.DeliveryID, Try: int(c.row.Tries) + 1,
		MaxTries: c.Settings.Tries,
	})
	return panics.Within(ctx, c.Handlers.Settings.Grace, "the handler", func() (any, error) {
		return c.Around(fn)(ctx, c.in, req)
	})
}

// request is the delivery as the ingress got it.
func (c *call) request() (*contracts.WebhookRequest, error) {
	stored := &eventsv1.WebhookReceived{
		Id: c.row.ID.String(), Method: c.row.Method, Path: c.row.Path, Query: c.row.Query, Body: c.row.Body,
		KeyId: c.row.KeyID, Sealed: c.row.Sealed, ReceivedAt: timestamppb.New(c.row.ReceivedAt),
	}
	var headers map[string][]string
	if err := json.Unmarshal(c.row.Headers, &headers); err != nil {
		return nil, contracts.Permanent(fmt.Errorf("read the headers of webhook %s: %w", c.row.ID, err))
	}
	for name, values := range headers {
		header := &eventsv1.WebhookHeader{Name: name}
		for _, value := range values {
			header.Values = append(header.Values, []byte(value))
		}
		stored.Headers = append(stored.Headers, header)
	}
	return c.Deliveries.Unpack(stored)
}

// routed is the handler of a delivery, and its event type if that is known.
type routed struct {
	fn    contracts.WebhookFunc
	event string
}

// route picks the handler of a delivery by its event type: see [contracts.WebhookHandler.WebhookHandlers].
func route(handler contracts.WebhookHandler, req *contracts.WebhookRequest) (routed, error) {
	to := routed{fn: handler.HandleWebhook}
	byType := handler.WebhookHandlers()
	if len(byType) == 0 {
		return to, nil
	}
	event, ok := handler.ResolveWebhookEvent(req)
	if !ok {
		return to, nil
	}
	if to = (routed{fn: byType[event], event: event}); to.fn == nil {
		return to, errIgnored
	}
	return to, nil
}

// ignore says what becomes of a delivery for whose type the provider has no handler: it is ignored, unless it waits for
// a worker of another build.
func (c *call) ignore(ctx context.Context, event string) error {
	if foreign.Word(event).String() != event {
		return errIgnored // such a type is not announced, and no text that Postgres takes
	}
	if err := c.Handlers.AwaitWebhook(ctx, c.row.Provider, event, int(c.row.Deferrals)); err != nil {
		return err
	}
	return errIgnored
}

// encodeResult is what is kept of a handler's value: nothing when it is no JSON, or too much, or Postgres does not take
// it, which lost says.
func (w *Worker) encodeResult(ctx context.Context, value any) (result json.RawMessage, lost foreign.Text) {
	encoded, err := handling.Ask(ctx, w.Handlers, "the handler", func() ([]byte, error) { return json.Marshal(value) })
	if err != nil || value == nil || len(encoded) > maxResult {
		return nil, ""
	}
	document, err := foreign.EncodedJSON(encoded)
	if err != nil {
		return nil, resultLost
	}
	return json.RawMessage(document), ""
}
