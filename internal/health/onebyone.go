package health

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/tributaryhq/tributary/internal/postgres"
)

// lockWait is how long what a process notes of its requests waits for a lock that another transaction holds. It is much
// longer than transactions of the services take, and so short that a pass over many locked integrations ends soon.
const lockWait = 200 * time.Millisecond

// oneByOne writes all of a batch at once. When that fails though Postgres is well, each element is tried alone, so that
// one that can't be written does not hold up the others. It returns the elements that are to be tried again, with the
// reason: those that another transaction has locked, and all that are left when Postgres goes away. An element that
// Postgres refuses is dropped, with a line in the log.
func oneByOne[T any](ctx context.Context, log *slog.Logger, what string, all []T, write func(context.Context, []T) error) ([]T, error) {
	ctx = postgres.BoundLocks(ctx, lockWait)
	err := write(ctx, all)
	if err == nil {
		return nil, nil
	}
	if ctx.Err() != nil || postgres.Unavailable(err) {
		return all, err
	}
	var later []T
	var why, refusal error
	refused := 0
	defer func() {
		if refused > 0 {
			log.Error(what+" can't be noted, and are dropped", "number", refused, "error", refusal)
		}
	}()
	for i := range all {
		err := write(ctx, all[i:i+1])
		switch {
		case err == nil:
		case ctx.Err() != nil || postgres.Unavailable(err):
			return append(later, all[i:]...), err
		case postgres.TimedOut(err):
			later, why = append(later, all[i]), err
		default:
			refused, refusal = refused+1, err
		}
	}
	if len(later) > 0 {
		return later, fmt.Errorf("%d of %d can't be written now: %w", len(later), len(all), why)
	}
	return nil, nil
}
