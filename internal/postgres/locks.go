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

// idleFor is for how long Postgres keeps a transaction, and its locks, of which it hears nothing: its client may have
// vanished. It stands in for what the database's settings say, which is never or may be too short.
const idleFor = time.Minute

// beginning is how a transaction begins. Its bounds are set by the same message, so that they cost no way to the database
// and back.
func beginning(ctx context.Context) pgx.TxOptions {
	begin := fmt.Sprintf("begin; set local idle_in_transaction_session_timeout = %d", idleFor.Milliseconds())
	if wait, bound := ctx.Value(lockWaitKey{}).(time.Duration); bound && wait > 0 {
		begin += fmt.Sprintf("; set local lock_timeout = %d", max(wait.Milliseconds(), 1))
	}
	return pgx.TxOptions{BeginQuery: begin}
}
