package tributary

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/tributaryhq/tributary/pkg/contracts"
	itemworker "github.com/tributaryhq/tributary/services/item-worker"
)

// Item is what the handlers of an item are called with. [contracts.AttemptFrom] tells which item it is, and which try.
type Item struct {
	// EventType picks the handlers, such as "acme.Order".
	EventType string
	// Payload is the event as JSON. It must not be changed in place; a middleware may pass another one on.
	Payload json.RawMessage
}

// ItemFunc handles an item.
type ItemFunc func(ctx context.Context, in *contracts.Integration, item Item) error

// ItemMiddleware is called in place of the handlers of an item. It calls next, which stands for them, once or not at
// all. What it returns decides what becomes of the item, as if a handler had returned it. Its panic is handled as a
// handler's is, and its time is part of theirs.
type ItemMiddleware func(ctx context.Context, in *contracts.Integration, item Item, next ItemFunc) error

// WebhookMiddleware is called in place of a provider's handler of a webhook, as [ItemMiddleware] is for items. Items
// that the webhook dispatches are handled after it has returned.
type WebhookMiddleware func(ctx context.Context, in *contracts.Integration, req *contracts.WebhookRequest,
	next contracts.WebhookFunc) (any, error)

// AroundItems puts middleware around the handlers of each item: once around all handlers of its event. The first given
// is the outermost. Items without a handler go to the table records, and no middleware is called for them.
func AroundItems(middleware ...ItemMiddleware) Option {
	return func(o *options) { o.aroundItems = append(o.aroundItems, middleware...) }
}

// AroundWebhooks puts middleware around the handler of each webhook. The first given is the outermost.
func AroundWebhooks(middleware ...WebhookMiddleware) Option {
	return func(o *options) { o.aroundWebhooks = append(o.aroundWebhooks, middleware...) }
}

// itemHandlers are the handlers by event type, with the middleware around those of each.
func (o *options) itemHandlers() map[string][]itemworker.ItemHandler {
	if len(o.aroundItems) == 0 {
		return o.handlers
	}
	wrapped := make(map[string][]itemworker.ItemHandler, len(o.handlers))
	for eventType, handlers := range o.handlers {
		call := ItemFunc(func(ctx context.Context, in *contracts.Integration, item Item) error {
			for _, handle := range handlers {
				if err := handle(ctx, in, item.Payload); err != nil {
					return err
				}
			}
			return nil
		})
		for _, middleware := range slices.Backward(o.aroundItems) {
			next := call
			call = func(ctx context.Context, in *contracts.Integration, item Item) error {
				return middleware(ctx, in, item, next)
			}
		}
		wrapped[eventType] = []itemworker.ItemHandler{func(ctx context.Context, in *contracts.Integration,
			payload []byte,
		) error {
			return call(ctx, in, Item{EventType: eventType, Payload: payload})
		}}
	}
	return wrapped
}

// aroundWebhook puts the middleware around a provider's handler.
func (o *options) aroundWebhook(call contracts.WebhookFunc) contracts.WebhookFunc {
	for _, middleware := range slices.Backward(o.aroundWebhooks) {
		next := call
		call = func(ctx context.Context, in *contracts.Integration, req *contracts.WebhookRequest) (any, error) {
			return middleware(ctx, in, req, next)
		}
	}
	return call
}
