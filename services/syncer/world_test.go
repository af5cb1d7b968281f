package syncer_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/secret"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/contracts"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

const token = "s3cret-token-of-the-feed"

// enumeration is what the provider does in one attempt; method is the one that was called.
type enumeration func(ctx context.Context, session contracts.SyncSession, method string) error

// feed enumerates what the test says for each integration.
type feed struct {
	contracts.TypedCredentials[struct {
		Token string `json:"token"`
	}]
	contracts.NoMetadata
	contracts.MaxNumber
	scripts *scripts
}

type scripts struct {
	mu    sync.Mutex
	of    map[string]enumeration
	calls map[string]int
}

func (f feed) Name() string                         { return "Feed" }
func (feed) DefaultSyncInterval() time.Duration     { return time.Hour }
func (feed) DefaultRateLimit() *contracts.RateLimit { return nil }

func (f feed) Sync(ctx context.Context, in *contracts.Integration, session contracts.SyncSession) error {
	return f.scripts.play(ctx, in, session, "Sync")
}

func (f feed) SyncIncremental(ctx context.Context, in *contracts.Integration, session contracts.SyncSession) error {
	return f.scripts.play(ctx, in, session, "SyncIncremental")
}

func (s *scripts) play(ctx context.Context, in *contracts.Integration, session contracts.SyncSession, method string) error {
	s.mu.Lock()
	play := s.of[in.ID()]
	s.calls[in.ID()]++
	s.mu.Unlock()
	return play(ctx, session, method)
}

// world is a syncer with its stores. The test stands for all other services: it opens runs, says that they are due, and reads what is handed over.
type world struct {
	*platform.Platform
	pool    *pgxpool.Pool
	js      jetstream.JetStream
	scripts *scripts
}

// newWorld runs a syncer until the test ends.
func newWorld(t *testing.T, adjust func(*platform.Config)) *world {
	t.Helper()
	ring, err := secret.ParseRing("test:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{pool: pgtest.DB(t), scripts: &scripts{of: map[string]enumeration{}, calls: map[string]int{}}}
	config := platform.Defaults()
	config.NATS, config.Pool, config.Ring = natstest.New(t).Connect(), w.pool, ring
	config.Providers = map[string]contracts.Provider{"feed": feed{scripts: w.scripts}}
	adjust(&config)
	if w.Platform, err = platform.New(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	if w.js, err = jetstream.New(config.NATS); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx, platform.SyncerService) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the syncer ended with: %v", err)
		}
	})
	return w
}

func asIs(*platform.Config) {}

func (w *world) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	if _, err := w.pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// open makes an integration that is enumerated so, with an open run that is due.
func (w *world) open(t *testing.T, play enumeration) *postgres.Run {
	t.Helper()
	integration, id, now := postgres.NewID(), postgres.NewID(), time.Now()
	_, err := w.Store.IntegrationInsert(t.Context(), dbsqlc.IntegrationInsertParams{
		ID: integration, Provider: "feed", Name: integration.String(), Metadata: []byte("{}"), Now: now,
	})
	if err == nil {
		err = w.Store.InTx(t.Context(), func(tx *postgres.Tx) error {
			_, err := w.Store.PutCredentials(t.Context(), tx, integration, []byte(`{"token":"`+token+`"}`), 0, postgres.Access{})
			return err
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	w.exec(t, `insert into sync_runs (id, integration_id, provider, mode, cause, state, wake, window_from, heartbeat_at, cursor_version, created_at)
		values ($1, $2, 'feed', 'incremental', 'command', 'due', 7, $3, $3, 0, $3)`, id, integration, now)
	w.scripts.mu.Lock()
	defer w.scripts.mu.Unlock()
	w.scripts.of[integration.String()] = play
	return w.run(t, id)
}

// set changes columns of a run's row.
func (w *world) set(t *testing.T, run *postgres.Run, columns string) {
	t.Helper()
	w.exec(t, "update sync_runs set "+columns+" where id = $1", run.ID)
}

func (w *world) run(t *testing.T, id uuid.UUID) *postgres.Run {
	t.Helper()
	run, err := w.Store.RunGet(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// due publishes the due event of a run.
func (w *world) due(t *testing.T, run *postgres.Run, wake int32) {
	t.Helper()
	m, err := wire.NewWork(wire.SyncDueSubject("feed", run.IntegrationID.String()), uuid.NewString(),
		&eventsv1.SyncDue{RunId: run.ID.String(), IntegrationId: run.IntegrationID.String(), Provider: "feed", Wake: wake})
	if err == nil {
		err = w.Bus.Publish(t.Context(), m)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// enumerate says that a run is due, waits until the syncer has acknowledged that, and returns the run.
func (w *world) enumerate(t *testing.T, run *postgres.Run) *postgres.Run {
	t.Helper()
	w.due(t, run, run.Wake)
	w.awaitAck(t, run)
	return w.run(t, run.ID)
}

// awaitAck waits until the due events of a run's integration are acknowledged.
func (w *world) awaitAck(t *testing.T, run *postgres.Run) {
	t.Helper()
	await(t, "the acknowledgement", func() bool {
		held, err := w.Bus.Holds(t.Context(), wire.StreamSync, wire.SyncDueSubject("feed", run.IntegrationID.String()))
		return err == nil && !held
	})
}

// called tells how often the provider was called for a run's integration.
func (w *world) called(run *postgres.Run) int {
	w.scripts.mu.Lock()
	defer w.scripts.mu.Unlock()
	return w.scripts.calls[run.IntegrationID.String()]
}

// await waits until a condition holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited for %s", what)
		}
		select {
		case <-t.Context().Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// sent is a batch on the items' stream.
type sent struct {
	Number  int32
	Attempt int32
	Lane    wire.Lane
	IDs     []string
}

// batches are those of a run on the items' stream, by number.
func (w *world) batches(t *testing.T, run *postgres.Run) map[int32]sent {
	t.Helper()
	stream, err := w.js.Stream(t.Context(), wire.StreamItems)
	if err != nil {
		t.Fatal(err)
	}
	batches := map[int32]sent{}
	state := stream.CachedInfo().State
	for sequence := state.FirstSeq; sequence <= state.LastSeq; sequence++ {
		m, err := stream.GetMsg(t.Context(), sequence)
		if err != nil {
			continue // purged
		}
		address, err := wire.ParseItemsSubject(m.Subject)
		if err != nil {
			t.Fatal(err)
		}
		batch, err := wire.ReadBatch(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		if batch.GetRunId() != run.ID.String() {
			continue
		}
		got := sent{Number: batch.GetBatch(), Attempt: address.Attempt, Lane: address.Lane}
		for _, item := range batch.GetItems() {
			got.IDs = append(got.IDs, item.GetExternalId())
		}
		batches[got.Number] = got
	}
	return batches
}

func (w *world) total(t *testing.T, run *postgres.Run) *eventsv1.Total {
	t.Helper()
	total, err := w.Checkpoints.ReadTotal(t.Context(), run.ID.String(), run.Attempt)
	if err != nil {
		t.Fatal(err)
	}
	return total
}

// wantTotal compares an attempt's total.
func (w *world) wantTotal(t *testing.T, run *postgres.Run, items int64, batches int32, duplicates int64) {
	t.Helper()
	type total struct {
		Items      int64
		Batches    int32
		Duplicates int64
		Error      string
	}
	got := w.total(t, run)
	if diff := cmp.Diff(total{items, batches, duplicates, ""}, total{got.GetItems(), got.GetBatches(), got.GetDuplicates(), got.GetError()}); diff != "" {
		t.Errorf("total: %s", diff)
	}
	if run.State != "working" || run.Items != items || run.Duplicates != duplicates || got == nil {
		t.Errorf("the run is %s with %d items and %d duplicates, total %v", run.State, run.Items, run.Duplicates, got)
	}
}
