package tributary_test

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"

	"github.com/tributaryhq/tributary"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// Order is an event of a provider.
type Order struct {
	ID    string `json:"id"`
	Cents int64  `json:"cents"`
}

// book is called for every order, at least once.
func book(_ context.Context, in *contracts.Integration, order Order) error {
	in.Log().Info("booked", "order", order.ID, "cents", order.Cents)
	return nil
}

// run runs three services on a pool and a connection of the program's, until ctx ends.
func run(ctx context.Context, database, broker, keyRing string, providers tributary.Providers) error {
	logger := slog.Default()
	config, err := pgxpool.ParseConfig(database)
	if err != nil {
		return err
	}
	tributary.PreparePool(config, logger)
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return err
	}
	defer pool.Close()
	nc, err := nats.Connect(broker, tributary.NATSOptions(logger)...)
	if err != nil {
		return err
	}
	defer nc.Close()
	keys, err := tributary.ParseKeys(ctx, keyRing, nil)
	if err != nil {
		return err
	}
	if _, err := tributary.Migrate(ctx, pool, logger); err != nil {
		return err
	}
	runtime, err := tributary.New(tributary.Config{
		Postgres: pool, NATS: nc, Keys: keys, Providers: providers,
		Services: []string{tributary.Scheduler, tributary.Syncer, tributary.ItemWorker},
	}, tributary.OnItem(book))
	if err != nil {
		return err
	}
	return runtime.Run(ctx)
}

func Example() {
	err := run(context.Background(), "postgres://localhost:5432/books", nats.DefaultURL, "a key ring",
		tributary.Providers{})
	fmt.Println(err)
}
