package itemworker

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tributaryhq/tributary/internal/deferral"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/contracts"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// longestLack is the longest wait between two looks for a worker that has the handler. The first is a second; it doubles.
const longestLack = 5 * time.Minute

// lack is a handler that this worker does not have, and that another one had.
type lack struct {
	provider, kind, eventType string
}

// lacking asks which of some event types had a handler in another worker. This worker has none for any of them. It is asked once a batch, and always of
// Postgres: a worker may have announced a handler a moment ago.
func (w *Worker) lacking(ctx context.Context, provider, kind string, types []string) (map[string]bool, error) {
	if len(types) == 0 {
		return nil, nil
	}
	handled, err := w.Store.HandledTypesAmong(ctx, dbsqlc.HandledTypesAmongParams{Provider: provider, Kind: kind, EventTypes: types})
	if err != nil {
		return nil, fmt.Errorf("ask whether a worker has had a handler: %w", err)
	}
	lacking := make(map[string]bool, len(handled))
	for _, eventType := range handled {
		lacking[eventType] = true
		if w.lacks.begins(lack{provider, kind, eventType}, w.Now()) {
			w.Log.Warn("this worker has no handler for an event type that another worker had one for; its events wait for a worker that has it",
				"provider", provider, "kind", kind, "event", eventType)
		}
	}
	return lacking, nil
}

// awaitHandlers returns the items that may be stored as records, and what becomes of the others: they wait for a worker that has the handler, which
// costs no try.
func (o ofRun) awaitHandlers(ctx context.Context, items []*eventsv1.Item) (rest []*eventsv1.Item, waiting []handled) {
	provider := o.batch.GetProvider()
	lacking, err := o.worker.lacking(ctx, provider, kindItem, o.typesWithoutHandler(items))
	if err != nil {
		// Before it is known, nothing is stored. That is nobody's try.
		for _, item := range items {
			waiting = append(waiting, handled{item: item, err: putOff(err)})
		}
		return nil, waiting
	}
	rest = make([]*eventsv1.Item, 0, len(items))
	for _, item := range items {
		if !lacking[item.GetEventType()] {
			rest = append(rest, item)
			continue
		}
		one := lack{provider, kindItem, item.GetEventType()}
		waiting = append(waiting, handled{item: item, err: noHandler(one, int(item.GetDeferrals()))})
	}
	return rest, waiting
}

// lacksHandlers defers a webhook that has dispatched an item which waits for another worker, before a handler is called for any of its items: they would all
// be called again.
func (w *work) lacksHandlers(ctx context.Context, deferrals int) error {
	provider := w.batch.GetProvider()
	lacking, err := w.worker.lacking(ctx, provider, kindItem, w.typesWithoutHandler(w.batch.GetItems()))
	if err != nil {
		return putOff(err)
	}
	for _, item := range w.batch.GetItems() {
		if lacking[item.GetEventType()] {
			return noHandler(lack{provider, kindItem, item.GetEventType()}, deferrals)
		}
	}
	return nil
}

// ignore says what becomes of a delivery for whose type the provider has no handler: it is ignored, unless a worker of another build has had one.
func (c *call) ignore(ctx context.Context, event string) error {
	if foreign.Word(event).String() != event {
		return errIgnored // such a type is not announced, and no text that Postgres takes
	}
	lacking, err := c.lacking(ctx, c.row.Provider, kindWebhook, []string{event})
	switch {
	case err != nil:
		return putOff(err)
	case lacking[event]:
		return noHandler(lack{c.row.Provider, kindWebhook, event}, int(c.row.Deferrals))
	}
	return errIgnored
}

// putOff has work wait for what it needs before a handler is called, such as its integration. That costs no try.
func putOff(err error) error { return contracts.RetryAfter(sinkRetry, err) }

// typesWithoutHandler are the event types, each once, of the items for which this worker has no handler.
func (w *work) typesWithoutHandler(items []*eventsv1.Item) []string {
	var types []string
	for _, item := range items {
		if eventType := item.GetEventType(); len(w.worker.Handlers[eventType]) == 0 {
			types = append(types, eventType)
		}
	}
	slices.Sort(types)
	return slices.Compact(types)
}

// noHandler is the deferral of work that waits for a worker with the handler, after a number of deferrals in a row.
func noHandler(one lack, deferrals int) error {
	wait := min(time.Second<<min(max(deferrals, 0), 20), longestLack)
	forget := "tributary handlers forget " + one.provider + " " + one.eventType
	otherwise := "have the type stored as records from now on: "
	if one.kind == kindWebhook {
		forget += " --webhook"
		otherwise = "have the type ignored from now on: "
	}
	return contracts.RetryAfter(wait, fmt.Errorf("%w for %s, and another had one: run a build that has it, or %s%s",
		deferral.ErrNoHandler, one.eventType, otherwise, forget))
}
