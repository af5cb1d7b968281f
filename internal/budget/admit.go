package budget

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// LongestWait is how long a request waits in place for its budget. What would have to wait for longer is deferred.
const LongestWait = 10 * time.Second

// errBudgetUnknown is the cause of a refusal while the broker does not answer.
var errBudgetUnknown = errors.New("what is left of it can't be known now")

// Admit returns once a request may be sent. If that is too far away, or after the context's deadline, it returns a
// deferral.
func (b *Budgets) Admit(ctx context.Context, key string, limit *contracts.RateLimit) error {
	provider, _, _ := strings.Cut(key, ".")
	arrived, usage := b.now(), usageOf(ctx)
	for waited := false; ; waited = true {
		wait, why, err := b.try(ctx, key, limit)
		stayed := b.now().Sub(arrived)
		switch {
		case err != nil:
			return err
		case wait <= 0:
			b.metrics.granted(provider, waited, stayed)
			usage.take()
			return nil
		case stayed+wait > LongestWait, !endsBefore(ctx, wait):
			err := contracts.RetryAfter(wait, why)
			usage.refuse(key, limit, err)
			return err
		}
		if err := sleep(ctx, min(wait, askAgain)); err != nil {
			return err
		}
	}
}

// try takes a unit, or says for how long there will be none, and why.
func (b *Budgets) try(
	ctx context.Context, key string, limit *contracts.RateLimit,
) (wait time.Duration, why, err error) {
	if until, ok := b.suppressedUntil(key); ok {
		return max(until.Sub(b.earliest()), time.Millisecond), errLeftAlone, nil
	}
	if limit == nil {
		return 0, nil, nil
	}
	again, err := b.account(key, *limit).take(ctx)
	switch {
	case ctx.Err() != nil:
		return 0, nil, ctx.Err()
	case err != nil:
		// Nobody knows what is spent: to send nothing is the only way not to send too much.
		return awayFor, fmt.Errorf("%w: %w: %w", contracts.ErrBudgetExhausted, errBudgetUnknown, err), nil
	case again.IsZero():
		return 0, nil, nil
	default:
		return max(again.Sub(b.earliest()), time.Millisecond),
			fmt.Errorf("%w: %d requests in %s", contracts.ErrBudgetExhausted, limit.Limit, limit.Window), nil
	}
}

// endsBefore reports whether a wait ends before the context's deadline.
func endsBefore(ctx context.Context, wait time.Duration) bool {
	deadline, limited := ctx.Deadline()
	return !limited || wait < time.Until(deadline)
}

func sleep(ctx context.Context, wait time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(wait):
		return nil
	}
}
