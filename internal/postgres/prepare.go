package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// leastConnections is how many connections a process needs: loops hold one each while they write, and handlers must not
// wait for all of them.
const leastConnections = 5

// prepared is where a connection notes that [Prepare] has configured it.
const prepared = "prepared"

// Prepare adds what a store needs to the configuration of a pool: ids are sent in binary, a cancelled wait for a
// synchronous standby is noticed (see [ErrUnreplicated]), and a connection on which the server is silent is given up
// (see [silence]). Hooks that the configuration has already are called too.
func Prepare(config *pgxpool.Config, log *slog.Logger) { _ = prepare(config, log, usualPatience()) }

func prepare(config *pgxpool.Config, log *slog.Logger, patience patience) *silence {
	others := config.AfterConnect
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		conn.PgConn().CustomData()[prepared] = true
		if others != nil {
			if err := others(ctx, conn); err != nil {
				return err
			}
		}
		return sendIDs(ctx, conn)
	}
	// The driver sends UTF-8, whatever the database or the role prefers.
	config.ConnConfig.RuntimeParams["client_encoding"] = "UTF8"
	heedReplication(config)
	bounds := &silence{patience: patience, log: log}
	bounds.boundPool(config)
	return bounds
}

// ErrUnprepared means that a pool was made of a configuration that [Prepare] has not seen, or that was changed after
// it.
var ErrUnprepared = errors.New("the pool lacks settings that services rely on")

// Check waits for the database of a pool that services shall work with. It returns an error, which says what to do, if
// the pool was not prepared, has too few connections, keeps prepared statements though a pooler is between, or if the
// server's settings can't work. It tells whether a pooler is between.
func Check(ctx context.Context, pool *pgxpool.Pool, log *slog.Logger) (pooled bool, err error) {
	if err := Await(ctx, pool, log); err != nil {
		return false, err
	}
	if err := checkPrepared(ctx, pool); err != nil {
		return false, err
	}
	config := pool.Config()
	if config.MaxConns < leastConnections {
		return false,
			fmt.Errorf("the pool has %d connections at most, and services need %d: raise MaxConns (pool_max_conns in "+
				"the URL)",
				config.MaxConns, leastConnections)
	}
	if pooled, err = Pooled(ctx, pool); err != nil {
		return false, err
	}
	if pooled && config.ConnConfig.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement {
		return true, errors.New("a connection pooler is between the pool and Postgres, and the pool keeps prepared " +
			"statements, which poolers mix up: " +
			"set ConnConfig.DefaultQueryExecMode to pgx.QueryExecModeCacheDescribe " +
			"(default_query_exec_mode=cache_describe in the URL)")
	}
	server, err := InspectServer(ctx, pool)
	if err != nil {
		return pooled, err
	}
	for _, warning := range server.Warnings() {
		log.Warn(warning)
	}
	return pooled, server.Check()
}

// checkPrepared looks at what a connection has noted after a statement.
func checkPrepared(ctx context.Context, pool *pgxpool.Pool) error {
	return pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		if _, err := conn.Exec(ctx, "-- ping"); err != nil {
			return fmt.Errorf("ask Postgres for a sign of life: %w", err)
		}
		noted := conn.Conn().PgConn().CustomData()
		seen, is := noted[watched].(*statement)
		if !is || noted[prepared] == nil {
			return ErrUnprepared
		}
		seen.silence.pool.Store(pool)
		return nil
	})
}
