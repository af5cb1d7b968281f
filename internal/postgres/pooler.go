package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Pooled reports whether a pooler such as PgBouncer is between the pool and Postgres. A pooler makes up the process ids that it gives to clients.
func Pooled(ctx context.Context, pool *pgxpool.Pool) (bool, error) {
	var pooled bool
	err := pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		var backend uint32
		if err := conn.QueryRow(ctx, "select pg_backend_pid()", pgx.QueryExecModeSimpleProtocol).Scan(&backend); err != nil {
			return fmt.Errorf("ask Postgres for the process id: %w", err)
		}
		pooled = backend != conn.Conn().PgConn().PID()
		return nil
	})
	return pooled, err
}

// SuitPooler has a configuration make connections that a pooler may change under any transaction: they keep no prepared statements. A mode that
// the URL names stays.
func SuitPooler(config *pgxpool.Config) {
	if config.ConnConfig.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement {
		config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	}
}
