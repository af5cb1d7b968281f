package postgres_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/postgres"
)

// counted is a tracer that counts statements.
type counted struct{ statements int }

func (c *counted) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	c.statements++
	return ctx
}

func (*counted) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// TestPoolsOfOthers checks pools that a program has made: prepared, and not.
func TestPoolsOfOthers(t *testing.T) {
	t.Parallel()
	address, log := pgtest.URL(t), slog.New(slog.DiscardHandler)
	check := func(change func(*pgxpool.Config)) error {
		t.Helper()
		config, err := pgxpool.ParseConfig(address)
		if err != nil {
			t.Fatal(err)
		}
		config.MaxConns = 5
		change(config)
		pool, err := pgxpool.NewWithConfig(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		defer pool.Close()
		pooled, err := postgres.Check(t.Context(), pool, log)
		if pooled {
			t.Error("it is told that a pooler is between")
		}
		return err
	}
	var connected, noticed, closed int
	tracer := &counted{}
	err := check(func(config *pgxpool.Config) {
		config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
			connected++
			_, err := conn.Exec(ctx, "do $$ begin raise notice 'hello'; end $$")
			return err
		}
		config.ConnConfig.OnNotice = func(*pgconn.PgConn, *pgconn.Notice) { noticed++ }
		config.BeforeClose = func(*pgx.Conn) { closed++ }
		config.ConnConfig.Tracer = tracer
		postgres.Prepare(config, log)
	})
	if err != nil {
		t.Errorf("a prepared pool: %v", err)
	}
	if connected != 1 || noticed != 1 || closed != 1 || tracer.statements < 2 {
		t.Errorf("the program's hooks were called %d, %d and %d times, and its tracer %d times", connected, noticed,
			closed, tracer.statements)
	}
	if err := check(func(*pgxpool.Config) {}); !errors.Is(err, postgres.ErrUnprepared) {
		t.Errorf("a pool that is not prepared: %v", err)
	}
	err = check(func(config *pgxpool.Config) {
		postgres.Prepare(config, log)
		config.ConnConfig.Tracer = tracer
	})
	if !errors.Is(err, postgres.ErrUnprepared) {
		t.Errorf("a pool whose tracer was replaced: %v", err)
	}
	err = check(func(config *pgxpool.Config) {
		postgres.Prepare(config, log)
		config.MaxConns = 4
	})
	if err == nil || !strings.Contains(err.Error(), "raise MaxConns") {
		t.Errorf("a pool with few connections: %v", err)
	}
}
