package tributary

import (
	"context"
	"encoding/json"
	"fmt"

	jsonv1 "github.com/go-json-experiment/json/v1"

	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/pkg/contracts"
	itemworker "github.com/tributaryhq/tributary/services/item-worker"
)

// Option adds to a runtime.
type Option func(*options)

type options struct {
	handlers       map[string][]itemworker.ItemHandler
	aroundItems    []ItemMiddleware
	aroundWebhooks []WebhookMiddleware
	tunes          []func(*platform.Config)
}

func newOptions(opts []Option) options {
	o := options{handlers: map[string][]itemworker.ItemHandler{}}
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// OnItem has fn called for every item whose event is a T, whichever provider it comes from. Several handlers of one
// event run one after the other, and all must return nil for the item to be done. An item may be handled more than
// once, so fn must be idempotent. What fn returns decides what becomes of the item: see [contracts.Permanent],
// [contracts.RetryAfter] and [contracts.Skip]. Items without a handler go to the table records.
func OnItem[T any](fn func(ctx context.Context, in *contracts.Integration, item T) error) Option {
	var zero T
	name := contracts.EventType(zero)
	return OnRawItem(name, func(ctx context.Context, in *contracts.Integration, payload json.RawMessage) error {
		var item T
		// The decoder of Go 1.27, with the meaning of encoding/json: that of Go 1.26 takes three times as long.
		if err := jsonv1.Unmarshal(payload, &item); err != nil {
			return contracts.Permanent(fmt.Errorf("decode %s: %w", name, err))
		}
		return fn(ctx, in, item)
	})
}

// OnRawItem is [OnItem] for code that needs no Go value: to pass records on, or to count them. fn is called for every
// item of the event type, such as "acme.Order", with its JSON, which it must not change.
func OnRawItem(eventType string, fn func(ctx context.Context, in *contracts.Integration,
	item json.RawMessage) error,
) Option {
	return func(o *options) {
		o.handlers[eventType] = append(o.handlers[eventType], func(ctx context.Context, in *contracts.Integration,
			payload []byte,
		) error {
			return fn(ctx, in, payload)
		})
	}
}

// Tuned lets programs of this module change what other programs can't. Its argument is internal.
func Tuned(tune func(*platform.Config)) Option {
	return func(o *options) { o.tunes = append(o.tunes, tune) }
}
