package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"

	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/runstate"
	"github.com/tributaryhq/tributary/internal/secret"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
)

// tributary is the whole product in this process: scheduler, syncer and item-worker with the settings they have in production.
type tributary struct {
	nc       *nats.Conn
	platform *platform.Platform
	store    *postgres.Store
	pool     *pgxpool.Pool
	database processTree
	cancel   context.CancelFunc
	ended    chan error
}

// connectTributary returns the product with no service running.
func connectTributary(ctx context.Context, s *servers) (*tributary, error) {
	ring, err := secret.LoadOrCreate(s.keys(), slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	nc, err := s.nats.Connect()
	if err != nil {
		return nil, err
	}
	config := platform.Defaults()
	config.NATS, config.Pool, config.Ring = nc, s.pool, ring
	config.Providers, config.Handlers = map[string]contracts.Provider{providerKey: feed{}}, handlers()
	config.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	built, err := platform.New(ctx, config)
	if err != nil {
		nc.Close()
		return nil, err
	}
	return &tributary{nc: nc, platform: built, store: built.Store, pool: s.pool, database: s.database, ended: make(chan error, 1)}, nil
}

// start runs the services until stop.
func (t *tributary) start(ctx context.Context) {
	ctx, t.cancel = context.WithCancel(ctx)
	go func() { t.ended <- t.platform.Run(ctx, platform.Services()...) }()
}

func (t *tributary) stop() {
	if t.cancel != nil {
		t.cancel()
		<-t.ended
		t.cancel = nil
	}
}

func (t *tributary) close() {
	t.stop()
	t.nc.Close()
}

// create makes an integration that nothing is done with yet.
func (t *tributary) create(ctx context.Context, kind string, items int) (uuid.UUID, error) {
	metadata, err := json.Marshal(feedMetadata{Kind: kind, Items: items})
	if err != nil {
		return uuid.Nil, fmt.Errorf("encode metadata: %w", err)
	}
	id := postgres.NewID()
	_, err = t.store.IntegrationInsert(ctx, dbsqlc.IntegrationInsertParams{
		ID: id, Provider: providerKey, Name: id.String(), Metadata: metadata, Now: time.Now(),
	})
	if err != nil {
		return uuid.Nil, fmt.Errorf("create an integration: %w", err)
	}
	return id, nil
}

// sync makes the integration due, by a command as an operator would, and returns once the event that its cursor has moved is out.
func (t *tributary) sync(ctx context.Context, id uuid.UUID) error {
	moved, err := t.nc.SubscribeSync(events.EventSubject(events.CursorMoved, providerKey, id.String()))
	if err != nil {
		return fmt.Errorf("listen for the cursor: %w", err)
	}
	defer func() { _ = moved.Unsubscribe() }()
	if err := t.nc.Publish(events.CommandSubject(events.VerbSync, id.String()), nil); err != nil {
		return fmt.Errorf("command a sync: %w", err)
	}
	for {
		waiting, cancel := context.WithTimeout(ctx, time.Second)
		_, err := moved.NextMsgWithContext(waiting)
		cancel()
		if err == nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		select {
		case ended := <-t.ended:
			t.ended <- ended
			return fmt.Errorf("the services have ended: %w", ended)
		default:
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("wait for the cursor: %w", err)
		}
	}
}

// measure runs one sync, checks that every item was done, and leaves nothing behind.
func (t *tributary) measure(ctx context.Context, kind string, items int) (usage, error) {
	id, err := t.create(ctx, kind, items)
	if err != nil {
		return usage{}, err
	}
	m := startMeter(t.database)
	if err := t.sync(ctx, id); err != nil {
		return usage{}, err
	}
	used := m.stop()
	runs, err := t.store.Queries.RunList(ctx, dbsqlc.RunListParams{IntegrationID: &id, Most: 1})
	if err != nil {
		return usage{}, fmt.Errorf("read the run: %w", err)
	}
	if len(runs) != 1 || runs[0].State != runstate.Succeeded || runs[0].Done != int64(items) {
		return usage{}, fmt.Errorf("a run of %d items ended otherwise: %+v", items, runs)
	}
	return used, t.clear(ctx, id)
}

func (t *tributary) clear(ctx context.Context, id uuid.UUID) error {
	if _, err := t.pool.Exec(ctx, "truncate records"); err != nil {
		return fmt.Errorf("empty the records: %w", err)
	}
	if _, err := t.store.IntegrationDelete(ctx, id); err != nil {
		return fmt.Errorf("delete an integration: %w", err)
	}
	return nil
}
