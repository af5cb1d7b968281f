package itemworker

import (
	"context"
	"time"

	"github.com/tributaryhq/tributary/internal/panics"
)

// askGrace is how long a call may go on after its time, or after the worker was told to stop.
const askGrace = time.Second

// ask calls a provider's code that only computes, and so is quick. A call that takes longer than [Settings.AskTimeout]
// is left behind: it must not write to what its caller reads.
func ask[T any](ctx context.Context, w *Worker, what string, f func() (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, w.Settings.AskTimeout)
	defer cancel()
	return panics.Within(ctx, askGrace, what, f)
}
