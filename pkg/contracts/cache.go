package contracts

import (
	"context"
	"time"
)

// CacheHeader says of an answer to a request with [WithCache] where it comes from: "hit" (kept, and fresh),
// "revalidated" (kept, and the upstream says that it is still right), "miss" (from the upstream), or "stale" (kept, as
// the upstream failed or may not be asked).
const CacheHeader = "Tributary-Cache"

// Cache says for how long answers are kept. See [WithCache].
type Cache struct {
	// TTL is for how long an answer is returned without asking the upstream. With 0 it is asked each time, if nothing
	// else whether what is kept is still right.
	TTL time.Duration
	// StaleOnError is for how much longer it is returned when the upstream fails, throttles, or may not be asked as the
	// circuit is open or the budget used up.
	StaleOnError time.Duration
}

type cacheKey struct{}

// WithCache returns a context whose GET and HEAD requests through [Integration.HTTP] may be answered from what the
// upstream has answered before, to the same integration with the same credentials. Requests that ask at the same time
// are sent once. Answers of 1 MiB at most are kept, of status 200 or 203, and by the headers that their Vary names.
// What the upstream says of its own about caching is not asked: the caller knows for how long an answer will do.
//
// A request that has a condition or a range of its own is sent as it is.
func WithCache(ctx context.Context, cache Cache) context.Context {
	return context.WithValue(ctx, cacheKey{}, cache)
}

// CacheFrom returns for how long answers to requests made with ctx are kept, and false when they are not.
func CacheFrom(ctx context.Context) (Cache, bool) {
	cache, ok := ctx.Value(cacheKey{}).(Cache)
	return cache, ok
}
