// Package cells says what processes share through the broker: small values that they change by compare-and-set, and its
// clock. Package bus has both; budgets, circuits and idempotency keys use them.
package cells

import (
	"context"
	"time"
)

// Cells are small values that all processes share and change by compare-and-set.
type Cells interface {
	// Read returns a cell's value and its revision: nil and 0 for a cell that was never written.
	Read(ctx context.Context, key string) (value []byte, revision uint64, err error)
	// Write sets a cell that is still at the given revision, and returns its next. It is false when somebody else was
	// faster. After an error nobody knows whether the cell was written.
	Write(ctx context.Context, key string, value []byte, revision uint64) (next uint64, ok bool, err error)
	// Watch calls fn with each cell whose key matches the pattern (* stands for one word between dots), and with each
	// that is written from then on, until ctx ends. When it has to start over it calls fn with all of them again.
	Watch(ctx context.Context, pattern string, fn func(key string, value []byte, revision uint64)) error
}

// Clock tells the time of the broker, which all processes have in common however wrong their own clocks are.
type Clock interface {
	// Bounds are the earliest and the latest that the broker's clock can show now; false means that nothing is known.
	Bounds() (earliest, latest time.Time, known bool)
	// Refresh asks the broker, if that was not done lately.
	Refresh(ctx context.Context) error
}
