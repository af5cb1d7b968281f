package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"example.com/acme"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributaryhq/tributary"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// books are a table of the program's own, in the database that Tributary uses too.
type books struct{ pool *pgxpool.Pool }

func newBooks(ctx context.Context, pool *pgxpool.Pool) (*books, error) {
	const table = "create table if not exists books (order_id text primary key, cents bigint not null)"
	if _, err := pool.Exec(ctx, table); err != nil {
		return nil, fmt.Errorf("make the books: %w", err)
	}
	return &books{pool: pool}, nil
}

// runtime is Tributary in this program.
func (b *books) runtime(nc *nats.Conn, keys *tributary.Keys, logger *slog.Logger, metrics prometheus.Registerer) (
	*tributary.Runtime, error,
) {
	config := tributary.Config{
		Postgres: b.pool, NATS: nc, Keys: keys, Logger: logger, Registerer: metrics,
		Providers: tributary.Providers{"acme": acme.Provider{}},
		Services:  []string{tributary.Scheduler, tributary.Syncer, tributary.ItemWorker},
	}
	config.Concurrency = 16
	config.AllowNetworks = []string{"loopback", "private"} // the shop is in the house
	return tributary.New(config, tributary.AroundItems(measured(metrics), b.inTransaction), tributary.OnItem(b.book))
}

// transaction is where a context has the transaction of its item.
type transaction struct{}

// inTransaction gives all handlers of an item one transaction, which commits if none of them fails.
func (b *books) inTransaction(ctx context.Context, in *contracts.Integration, item tributary.Item,
	next tributary.ItemFunc,
) error {
	return pgx.BeginFunc(ctx, b.pool, func(tx pgx.Tx) error {
		return next(context.WithValue(ctx, transaction{}, tx), in, item)
	})
}

// measured counts the items of each type, and how long they take.
func measured(metrics prometheus.Registerer) tributary.ItemMiddleware {
	took := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "books_item_seconds", Help: "How long the handlers of an item take.",
	}, []string{"type"})
	_ = metrics.Register(took)
	return func(ctx context.Context, in *contracts.Integration, item tributary.Item, next tributary.ItemFunc) error {
		began := time.Now()
		defer func() { took.WithLabelValues(item.EventType).Observe(time.Since(began).Seconds()) }()
		return next(ctx, in, item)
	}
}

// book is called for every order that a sync has found: at least once, so it must not mind a second time.
func (b *books) book(ctx context.Context, _ *contracts.Integration, order acme.Order) error {
	if order.Cents < 0 {
		return contracts.Permanent(fmt.Errorf("order %s costs less than nothing", order.ID))
	}
	tx, _ := ctx.Value(transaction{}).(pgx.Tx)
	const upsert = "insert into books values ($1, $2) on conflict (order_id) do update set cents = excluded.cents"
	_, err := tx.Exec(ctx, upsert, order.ID, order.Cents)
	return err
}

// total is what all orders cost.
func (b *books) total(ctx context.Context) (cents int64, err error) {
	err = b.pool.QueryRow(ctx, "select coalesce(sum(cents), 0) from books").Scan(&cents)
	return cents, err
}
