package checkpoint

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// ErrReducer wraps what a provider's reducer returned.
var ErrReducer = errors.New("the reducer failed")

// Reduce calls the provider's reducer, which may panic.
func Reduce(reducer contracts.ScheduledSync, checkpoints []contracts.Checkpoint) (cursor contracts.Cursor, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: panic: %v\n%s", ErrReducer, v, debug.Stack())
		}
	}()
	cursor, err = reducer.ReduceCheckpoints(checkpoints)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReducer, err)
	}
	return cursor, nil
}
