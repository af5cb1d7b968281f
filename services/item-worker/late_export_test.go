package itemworker

import (
	"context"

	"github.com/tributaryhq/tributary/internal/bus"
)

// NewTake returns what stores a webhook of the stream. It works until ctx ends.
func NewTake(ctx context.Context, config Config) func(context.Context, *bus.Delivery) error {
	h := newWebhooks(New(config))
	go h.stores.run(ctx)
	go h.looks.run(ctx)
	return h.take
}
