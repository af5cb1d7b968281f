package checkpoint

import (
	"errors"
	"fmt"

	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// ErrReducer wraps what a provider's reducer returned.
var ErrReducer = errors.New("the reducer failed")

// Reduce calls the provider's reducer, which may panic.
func Reduce(reducer contracts.ScheduledSync, checkpoints []contracts.Checkpoint) (contracts.Cursor, error) {
	cursor, err := reduce(reducer, checkpoints)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReducer, err)
	}
	return cursor, nil
}

func reduce(reducer contracts.ScheduledSync, checkpoints []contracts.Checkpoint) (cursor contracts.Cursor, err error) {
	defer panics.Catch(&err, "ReduceCheckpoints")
	return reducer.ReduceCheckpoints(checkpoints)
}
