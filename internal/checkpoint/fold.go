package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// ErrReducer wraps what a provider's reducer returned.
var ErrReducer = errors.New("the reducer failed")

// reduceTimeout is how long a reducer may take: it folds up to some ten thousand checkpoints at a time, in memory. A
// close asks at most twice, and has two minutes.
const reduceTimeout = 30 * time.Second

// Reduce calls the provider's reducer, which may panic, or not return. The cursor is JSON in UTF-8, as what is dispatched.
func Reduce(reducer contracts.ScheduledSync, checkpoints []contracts.Checkpoint) (contracts.Cursor, error) {
	ctx, cancel := context.WithTimeout(context.Background(), reduceTimeout)
	defer cancel()
	cursor, err := panics.Within(ctx, 0, "ReduceCheckpoints", func() (contracts.Cursor, error) { return reducer.ReduceCheckpoints(checkpoints) })
	if err == nil {
		cursor, err = contracts.NewCursor(cursor)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReducer, err)
	}
	return cursor, nil
}
