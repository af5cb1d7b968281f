package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

type lockWaitKey struct{}

// BoundLocks has the transactions that are begun with this context wait no longer than that for each lock that another
// transaction holds. One that waits in vain fails, and [Locked] tells.
func BoundLocks(ctx context.Context, wait time.Duration) context.Context {
	return context.WithValue(ctx, lockWaitKey{}, wait)
}

// beginning is how a transaction begins. Its bound is set by the same message, so that it costs no way to the database
// and back.
func beginning(ctx context.Context) pgx.TxOptions {
	wait, bound := ctx.Value(lockWaitKey{}).(time.Duration)
	if !bound || wait <= 0 {
		return pgx.TxOptions{}
	}
	return pgx.TxOptions{BeginQuery: fmt.Sprintf("begin; set local lock_timeout = %d", max(wait.Milliseconds(), 1))}
}
