package tributary

import (
	"context"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// Handle calls the handlers that options add for an event type, as an item-worker does.
func Handle(ctx context.Context, eventType string, payload []byte, opts ...Option) error {
	o := newOptions(opts)
	for _, handler := range o.itemHandlers()[eventType] {
		if err := handler(ctx, nil, payload); err != nil {
			return err
		}
	}
	return nil
}

// AroundWebhook is what is called in place of a provider's handler.
func AroundWebhook(call contracts.WebhookFunc, opts ...Option) contracts.WebhookFunc {
	o := newOptions(opts)
	return o.aroundWebhook(call)
}
