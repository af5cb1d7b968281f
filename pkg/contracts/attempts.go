package contracts

import "context"

type attemptsKey struct{}

// WithAttempts returns a context whose requests through [Integration.HTTP] are sent n times at most, whatever their
// method; n below 1 counts as 1. Without it GET, HEAD and OPTIONS are sent 3 times at most, and so are requests with an
// idempotency key to an [IdempotencySupporter]; all others once.
//
// A request is sent again only when its failure is worth it (see [RetryCustomizer]) and its body can be had again (see
// [http.Request]).
func WithAttempts(ctx context.Context, n int) context.Context {
	return context.WithValue(ctx, attemptsKey{}, max(n, 1))
}

// AttemptsFrom returns how often requests made with ctx are sent at most, and false when that is left to the platform.
func AttemptsFrom(ctx context.Context) (int, bool) {
	n, ok := ctx.Value(attemptsKey{}).(int)
	return n, ok
}
