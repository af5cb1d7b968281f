package tokenrefresher

import (
	"context"
	"time"

	"github.com/tributaryhq/tributary/internal/panics"
)

// leftAfter is how long after the end of its time a provider that does not return is left behind.
const leftAfter = time.Second

// ask calls a provider's code, which has the time of one call to an upstream. A provider that panics, or does not
// return, has failed.
func ask[T any](
	ctx context.Context, r *Refresher, provider, method string, f func(ctx context.Context) (T, error),
) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, r.Settings.Call)
	defer cancel()
	value, err := panics.Within(ctx, leftAfter, method, func() (T, error) { return f(ctx) })
	panics.Report(r.Log, err, "provider", provider)
	return value, err
}
