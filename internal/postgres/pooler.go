package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// pollEvery is how often a store that can't listen for notifications supposes one.
const pollEvery = time.Second

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

// Listening is how a store hears of notifications. The zero value listens on a connection of the pool.
type Listening struct {
	// Direct leads past a pooler, through which no notification comes. Nil means that the pool's connections lead to Postgres itself.
	Direct *pgx.ConnConfig
	// Poll has the store suppose a notification every second instead of listening.
	Poll bool
}

// ListenBy sets how the store hears of notifications; without it, it listens on a connection of the pool. It is called before Listen.
func (s *Store) ListenBy(how Listening) { s.listening = how }

func (s *Store) listenConn(ctx context.Context) (*pgx.Conn, error) {
	if s.listening.Direct != nil {
		return pgx.ConnectConfig(ctx, s.listening.Direct)
	}
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	// A connection that listens does not go back to the pool.
	return conn.Hijack(), nil
}

// poll calls fn every second, as if any number of notifications had been missed.
func poll(ctx context.Context, fn func(payload string)) {
	ticks := time.NewTicker(pollEvery)
	defer ticks.Stop()
	for fn(""); ; fn("") {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
	}
}
