package handling

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tributaryhq/tributary/internal/deferral"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/contracts"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// longestLack is the longest wait between two looks for a worker that has the handler. The first is a second; it
// doubles.
const longestLack = 5 * time.Minute

// lack is a handler that this worker does not have, and that another one had.
type lack struct {
	provider, kind, eventType string
}

// lacking asks which of some event types, for which this worker has no handler, had one in another worker. It is asked
// once a batch, and always of Postgres: a worker may have announced a handler a moment ago.
func (h *Handlers) lacking(ctx context.Context, provider, kind string, types []string) (map[string]bool, error) {
	if len(types) == 0 {
		return nil, nil
	}
	handled, err := h.Store.HandledTypesAmong(ctx, dbsqlc.HandledTypesAmongParams{
		Provider: provider, Kind: kind,
		EventTypes: types,
	})
	if err != nil {
		return nil, fmt.Errorf("ask whether a worker has had a handler: %w", err)
	}
	lacking := make(map[string]bool, len(handled))
	for _, eventType := range handled {
		lacking[eventType] = true
		if h.lacks.Begins(lack{provider, kind, eventType}, h.Now()) {
			h.Log.Warn("this worker has no handler for an event type that another worker had one for; its events "+
				"wait for a worker that has it",
				"provider", provider, "kind", kind, "event", eventType)
		}
	}
	return lacking, nil
}

// awaitHandlers returns the items that may be stored as records, and those that wait for a worker that has the handler.
// Waiting takes no try.
func (w *Work) awaitHandlers(ctx context.Context, items []*eventsv1.Item) (rest []*eventsv1.Item, waiting []Handled) {
	provider := w.Batch.GetProvider()
	lacking, err := w.lacking(ctx, provider, kindItem, w.typesWithoutHandler(items))
	if err != nil {
		// Before it is known, nothing is stored. That is nobody's try.
		for _, item := range items {
			waiting = append(waiting, Handled{Item: item, Err: PutOff(err)})
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
		waiting = append(waiting, Handled{Item: item, Err: noHandler(one, int(item.GetDeferrals()))})
	}
	return rest, waiting
}

// AwaitHandlers defers work that is a whole when one of its items waits for a worker that has the handler. It is asked
// before a handler is called, because all handlers would be called again.
func (w *Work) AwaitHandlers(ctx context.Context) error {
	if _, waiting := w.awaitHandlers(ctx, w.Batch.GetItems()); len(waiting) > 0 {
		return waiting[0].Err
	}
	return nil
}

// AwaitWebhook defers a delivery for whose type the provider has no handler, if a worker of another build has had one.
// It returns nil if none has.
func (h *Handlers) AwaitWebhook(ctx context.Context, provider, eventType string, deferrals int) error {
	lacking, err := h.lacking(ctx, provider, kindWebhook, []string{eventType})
	switch {
	case err != nil:
		return PutOff(err)
	case lacking[eventType]:
		return noHandler(lack{provider, kindWebhook, eventType}, deferrals)
	}
	return nil
}

// typesWithoutHandler are the event types, each once, of the items for which this worker has no handler.
func (w *Work) typesWithoutHandler(items []*eventsv1.Item) []string {
	var types []string
	for _, item := range items {
		if eventType := item.GetEventType(); len(w.Items[eventType]) == 0 {
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
