package itemworker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributaryhq/tributary/internal/budget"
	"github.com/tributaryhq/tributary/internal/deferral"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/items"
	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/redact"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/contracts"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

const (
	// maxDispatched and maxDispatchedBytes are what one delivery may dispatch: it is in memory until it is done.
	maxDispatched      = 10_000
	maxDispatchedBytes = 16 << 20
	// maxResult is how much of what a handler returns is kept.
	maxResult = 64 << 10
)

// errIgnored means that the provider has no handler for the type.
var errIgnored = errors.New("no handler for this type")

// call is one delivery being handled.
type call struct {
	*webhooks
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
		return c.restart(ctx, err, attempted{in: c.in, event: c.row.EventType, id: c.row.DeliveryID, deferrals: c.row.Deferrals, usage: usage})
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
		return putOff(err)
	}
	req, err := c.request()
	if err != nil {
		return err
	}
	to, err := ask(ctx, c.Worker, "the provider", func() (routed, error) { return route(handler, req) })
	if errors.Is(err, errIgnored) {
		return c.ignore(ctx, to.event)
	}
	if err != nil {
		return err
	}
	session := &webhookSession{}
	value, err := c.call(contracts.WithDispatcher(ctx, session), to.fn, req)
	dispatched := session.close()
	if err != nil {
		return err
	}
	if err := session.guard.Verdict(func(late error) { c.lost(ctx, late) }); err != nil {
		return err
	}
	c.result, c.resultLost = c.encodeResult(ctx, value)
	return c.handleItems(ctx, dispatched)
}

// call runs the handler, which may panic, or go on though its time is up: then it is left behind.
func (c *call) call(ctx context.Context, fn contracts.WebhookFunc, req *contracts.WebhookRequest) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Settings.Timeout)
	defer cancel()
	ctx = contracts.WithAttempt(ctx, contracts.Attempt{
		Item: "webhook/" + c.row.ID.String(), ExternalID: c.row.DeliveryID, Try: int(c.row.Tries) + 1, MaxTries: c.Settings.Webhooks.Tries,
	})
	return panics.Within(ctx, c.Settings.Grace, "the handler", func() (any, error) { return c.AroundWebhook(fn)(ctx, c.in, req) })
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

// handleItems works on what was dispatched as on the items of a batch: in its order through the application's handlers, and together into the table of records. All are
// tried; the error that weighs most is the delivery's.
func (c *call) handleItems(ctx context.Context, dispatched []*eventsv1.Item) error {
	if len(dispatched) == 0 {
		return nil
	}
	if err := c.checkCheckpoints(ctx, dispatched); err != nil {
		return err
	}
	for i, item := range dispatched {
		item.Index, item.Tries = int32(i), c.row.Tries
	}
	batch := &eventsv1.ItemBatch{
		RunId: c.row.ID.String(), Attempt: c.row.Attempt, IntegrationId: c.row.IntegrationID.String(), Provider: c.row.Provider, Items: dispatched,
		FirstAt: timestamppb.New(c.Now()),
	}
	w := &work{
		worker: c.Worker, batch: batch, lane: wire.Shared, in: c.in, provider: c.provider,
		took: c.Metrics.items.WithLabelValues(c.row.Provider), origin: ofWebhook{c},
	}
	if err := w.lacksHandlers(ctx, int(c.row.Deferrals)); err != nil {
		return err
	}
	// The delivery has its slot already.
	results := newRound(ctx, w, dispatched, true).settle()
	c.Crash("item-worker: webhook's items handled")
	if len(results) < len(dispatched) {
		return errStopping
	}
	var worst error
	for _, r := range results {
		if weight(r.err) > weight(worst) {
			worst = fmt.Errorf("%s %s: %w", r.item.GetEventType(), r.item.GetExternalId(), r.err)
		}
	}
	return worst
}

// checkCheckpoints takes checkpoints off that must not count: as a record's version, one in the distant future would have all that comes later taken for older.
// After an error the items must not be used.
func (c *call) checkCheckpoints(ctx context.Context, dispatched []*eventsv1.Item) error {
	checker, ok := c.provider.(contracts.CheckpointChecker)
	if !ok {
		return nil
	}
	_, err := ask(ctx, c.Worker, "the check of checkpoints", func() (struct{}, error) {
		for _, item := range dispatched {
			if err := items.DropOddCheckpoint(checker, item, c.Now()); err != nil {
				c.Log.Warn("a webhook's item has a checkpoint that does not count", "webhook", c.row.ID, "provider", c.row.Provider,
					"event", item.GetEventType(), "external_id", item.GetExternalId(), "error", err)
			}
		}
		return struct{}{}, nil
	})
	return err
}

// weight orders errors: a permanent one decides, and a failure before a deferral. A skipped item is done.
func weight(err error) int {
	_, skipped := contracts.AsSkip(err)
	_, deferred := contracts.AsDeferral(err)
	switch {
	case err == nil, skipped:
		return 0
	case contracts.IsPermanent(err):
		return 3
	case deferred:
		return 1
	default:
		return 2
	}
}

// webhookSession takes what a handler dispatches.
type webhookSession struct {
	guard items.Guard
	mu    sync.Mutex
	items []*eventsv1.Item
	size  int
}

func (s *webhookSession) Dispatch(ctx context.Context, event, checkpoint any, externalID string) error {
	maker := &items.Maker{}
	item, unfit, err := maker.Make(event, checkpoint, externalID)
	if err == nil {
		err = s.take(ctx, event, item, unfit)
	}
	if err != nil {
		return s.guard.Refuse(err)
	}
	return nil
}

// take keeps an item that was dispatched.
func (s *webhookSession) take(ctx context.Context, event any, item *eventsv1.Item, unfit error) error {
	if unfit != nil {
		return contracts.Permanent(fmt.Errorf("dispatch %s: %w", contracts.EventType(event), unfit))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := errors.Join(s.guard.Ended(), ctx.Err()); err != nil {
		return fmt.Errorf("dispatch: %w", err)
	}
	s.size += len(item.GetPayload()) + len(item.GetCheckpoint()) + len(item.GetExternalId())
	if len(s.items) >= maxDispatched || s.size > maxDispatchedBytes {
		return contracts.Permanent(fmt.Errorf("dispatch: a webhook may dispatch %d records of %d bytes in all", maxDispatched, maxDispatchedBytes))
	}
	s.items = append(s.items, item)
	return nil
}

func (s *webhookSession) close() []*eventsv1.Item {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.guard.End()
	return s.items
}

// encodeResult is what is kept of a handler's value: nothing when it is no JSON, or too much, or Postgres does not take it, which lost says.
func (h *webhooks) encodeResult(ctx context.Context, value any) (result json.RawMessage, lost foreign.Text) {
	encoded, err := ask(ctx, h.Worker, "the handler", func() ([]byte, error) { return json.Marshal(value) })
	if err != nil || value == nil || len(encoded) > maxResult {
		return nil, ""
	}
	document, err := foreign.EncodedJSON(encoded)
	if err != nil {
		return nil, resultLost
	}
	return json.RawMessage(document), ""
}

// settle turns what a delivery came to into what is written of it. What the handler says is stored and shown, and so redacted first.
func (h *webhooks) settle(row *dbsqlc.WebhookClaimRow, err error, result json.RawMessage, redactor *redact.Redactor) finished {
	now := h.Now()
	err = redactor.Error(err)
	f := finished{row: row, status: "processed", next: now, tries: row.Tries, err: err}
	if len(result) > 0 {
		f.result = redacted(result, redactor)
	}
	skip, skipped := contracts.AsSkip(err)
	asks, deferred := contracts.AsDeferral(err)
	switch {
	case err == nil:
	case errors.Is(err, errIgnored):
		f.status = "ignored"
	case skipped:
		f.status, f.reason = "skipped", foreign.Line(redactor.Text(skip.Reason))
	case errors.Is(err, errPoison):
		f.status, f.reason = "failed", reasonPoison
	case errors.Is(err, foreign.ErrUnstorable):
		f.status, f.reason = "failed", reasonUnstorable
	case contracts.IsPermanent(err):
		f.status, f.reason = "failed", reasonPermanent
	case deferred:
		wait, cut := h.Settings.Waits.Of(asks.Delay, int(row.Deferrals))
		f.status, f.next, f.waitingFor, f.deferrals = "pending", now.Add(wait), deferral.CauseOf(err), row.Deferrals+1
		if cut {
			h.Log.Warn("a webhook asks to wait for longer than any wait may be; it is tried again before", "webhook", row.ID, "provider", row.Provider, "asked", asks.Delay,
				"at", f.next)
		}
		if row.WindowFrom != nil && f.next.Sub(*row.WindowFrom) > h.Settings.Webhooks.Window {
			f.status, f.reason, f.waitingFor = "failed", reasonWindow, deferral.None
		}
	default:
		backoff := h.Settings.Webhooks.Backoff
		f.tries++
		f.status, f.next = "pending", now.Add(spreadAround(backoff[min(int(f.tries), len(backoff))-1]))
		if int(f.tries) >= h.Settings.Webhooks.Tries {
			f.status, f.reason = "failed", reasonTries
		}
	}
	return f
}

// redacted is what may be shown of a result. A credential that is a bare number in it leaves no JSON behind: then nothing is shown.
func redacted(result json.RawMessage, redactor *redact.Redactor) string {
	shown := redactor.ResponseBody("application/json", result, false)
	if !json.Valid(shown) {
		return `"` + redact.Redacted + `"`
	}
	return string(shown)
}

// spreadAround moves a wait by up to 20 % either way.
func spreadAround(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (1 - spread + 2*spread*rand.Float64()))
}
