package requestlog

import (
	"context"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// Origin is the work that a request is made for; the request log links to it. What does not apply is empty.
type Origin struct {
	// Run is the sync run's id.
	Run string
	// Item identifies the item within Tributary: run, attempt, batch and index.
	Item string
	// Webhook is the delivery's id.
	Webhook string
}

type originKey struct{}

// WithOrigin returns a context whose requests are made for an origin. Services call it before they call a provider or a
// handler.
func WithOrigin(ctx context.Context, origin Origin) context.Context {
	return context.WithValue(ctx, originKey{}, origin)
}

// OriginOf is the origin of the requests made with ctx. In the handler of an item, the attempt in the context names run
// and item.
func OriginOf(ctx context.Context) Origin {
	origin, _ := ctx.Value(originKey{}).(Origin)
	if attempt, ok := contracts.AttemptFrom(ctx); ok {
		origin.Run, origin.Item = attempt.Run, attempt.Item
	}
	return origin
}
