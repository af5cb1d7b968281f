package itemworker_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/secret"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/contracts"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
	itemworker "github.com/tributaryhq/tributary/services/item-worker"
)

const token = "s3cret-token-of-the-shop"

// shop is the provider of these tests. Nothing of it is called but its reducer and the order of its checkpoints.
type shop struct {
	contracts.TypedCredentials[struct {
		Token string `json:"token"`
	}]
	contracts.NoMetadata
	contracts.MaxNumber
}

func (shop) Name() string { return "Shop" }

func (shop) DefaultSyncInterval() time.Duration { return time.Hour }

func (shop) DefaultRateLimit() *contracts.RateLimit { return nil }

func (shop) Sync(context.Context, *contracts.Integration, contracts.SyncSession) error { return nil }

// world is a worker with its stores. The test stands for all other services: it opens runs, publishes batches, and
// reads what became of their items.
type world struct {
	*platform.Platform
	pool   *pgxpool.Pool
	server *natstest.Server
	js     jetstream.JetStream

	mu    sync.Mutex
	calls map[string]int
}

// newWorld makes a worker whose handler for the event of these tests is given; start runs it.
func newWorld(t *testing.T, handler itemworker.ItemHandler, adjust func(*platform.Config)) *world {
	t.Helper()
	return newWorldOn(t, &world{pool: pgtest.DB(t), server: natstest.New(t), calls: map[string]int{}}, handler, adjust)
}

// beside makes another worker with the stores of this one.
func (w *world) beside(t *testing.T, handler itemworker.ItemHandler, adjust func(*platform.Config)) *world {
	t.Helper()
	return newWorldOn(t, &world{pool: w.pool, server: w.server, calls: map[string]int{}}, handler, adjust)
}

func testRing(t *testing.T) *secret.Ring {
	t.Helper()
	ring, err := secret.ParseRing("test:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func newWorldOn(t *testing.T, w *world, handler itemworker.ItemHandler, adjust func(*platform.Config)) *world {
	t.Helper()
	var err error
	config := platform.Defaults()
	config.NATS, config.Pool, config.Ring = w.server.Connect(), w.pool, testRing(t)
	config.Providers = map[string]contracts.Provider{"shop": shop{}}
	config.Handlers = map[string][]itemworker.ItemHandler{event: {func(ctx context.Context, in *contracts.Integration,
		payload []byte,
	) error {
		w.mu.Lock()
		w.calls[string(payload)]++
		w.mu.Unlock()
		return handler(ctx, in, payload)
	}}}
	config.ItemWorker.Progress = 20 * time.Millisecond
	adjust(&config)
	if w.Platform, err = platform.New(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	if w.js, err = jetstream.New(config.NATS); err != nil {
		t.Fatal(err)
	}
	return w
}

// start runs the worker until the test ends, or until it is stopped.
func (w *world) start(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx, platform.ItemWorkerService) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the worker ended with: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// called tells how often the handler was called with a payload.
func (w *world) called(payload string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calls[payload]
}

func (w *world) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	if _, err := w.pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

// scan reads one row.
func (w *world) scan(t *testing.T, sql string, id any, into ...any) {
	t.Helper()
	if err := w.pool.QueryRow(t.Context(), sql, id).Scan(into...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// open makes an integration with an open run at an attempt, and returns an empty batch of it.
func (w *world) open(t *testing.T, attempt int32) *eventsv1.ItemBatch {
	t.Helper()
	integration, run, now := postgres.NewID(), postgres.NewID(), time.Now()
	_, err := w.Store.IntegrationInsert(t.Context(), dbsqlc.IntegrationInsertParams{
		ID: integration, Provider: "shop", Name: integration.String(), Metadata: []byte("{}"), Now: now,
	})
	if err != nil {
		t.Fatal(err)
	}
	err = w.Store.InTx(t.Context(), func(tx *postgres.Tx) error {
		_, err := w.Store.PutCredentials(t.Context(), tx, integration, []byte(`{"token":"`+token+`"}`), 0,
			postgres.Access{})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	w.exec(t, `insert into sync_runs (id, integration_id, provider, mode, cause, state, attempt, window_from, heartbeat_at, cursor_version, created_at)
		values ($1, $2, 'shop', 'full', 'command', 'working', $3, $4, $4, 0, $4)`, run, integration, attempt, now)
	return &eventsv1.ItemBatch{
		RunId: run.String(), Attempt: attempt, IntegrationId: integration.String(), Provider: "shop",
		FirstAt: timestamppb.New(now),
	}
}

// with adds an item for each payload, with its index as its checkpoint.
func with(batch *eventsv1.ItemBatch, payloads ...string) *eventsv1.ItemBatch {
	for _, payload := range payloads {
		n := len(batch.GetItems())
		batch.Items = append(batch.Items, &eventsv1.Item{
			Index: int32(n), EventType: event, ExternalId: fmt.Sprint("x", n), Payload: []byte(payload),
			Checkpoint: fmt.Append(nil, n),
		})
	}
	return batch
}

// send publishes a batch as a syncer does.
func (w *world) send(t *testing.T, batch *eventsv1.ItemBatch) {
	t.Helper()
	subject := wire.ItemsSubject(wire.ItemAddress{
		Lane: wire.Shared, Provider: "shop", Integration: batch.GetIntegrationId(), Run: batch.GetRunId(),
		Attempt: batch.GetAttempt(),
	})
	m, err := wire.NewWork(subject, uuid.NewString(), batch)
	if err == nil {
		err = w.Bus.Publish(t.Context(), m)
	}
	if err != nil {
		t.Fatal(err)
	}
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

// awaitAck waits until the worker has acknowledged all that a run has in the lanes.
func (w *world) awaitAck(t *testing.T, batch *eventsv1.ItemBatch) {
	t.Helper()
	await(t, "the acknowledgement", func() bool {
		return w.messages(t, wire.RunFilters("shop", batch.GetIntegrationId(), batch.GetRunId(), 0)[0]) == 0
	})
}

// messages counts the messages on a subject of the items' stream.
func (w *world) messages(t *testing.T, filter string) int {
	t.Helper()
	return len(w.subjects(t, filter))
}

func (w *world) subjects(t *testing.T, filter string) map[string]uint64 {
	t.Helper()
	stream, err := w.js.Stream(t.Context(), wire.StreamItems)
	if err != nil {
		t.Fatal(err)
	}
	info, err := stream.Info(t.Context(), jetstream.WithSubjectFilter(filter))
	if err != nil {
		t.Fatal(err)
	}
	return info.State.Subjects
}

// retry is a message that brings items again.
type retry struct {
	*eventsv1.ItemBatch
	header nats.Header
}

// retries are the messages that bring items of a run again, by their first item.
func (w *world) retries(t *testing.T, batch *eventsv1.ItemBatch) map[int32]retry {
	t.Helper()
	stream, err := w.js.Stream(t.Context(), wire.StreamItems)
	if err != nil {
		t.Fatal(err)
	}
	retries := map[int32]retry{}
	for subject := range w.subjects(t, wire.RunFilters("shop", batch.GetIntegrationId(), batch.GetRunId(), 0)[1]) {
		m, err := stream.GetLastMsgForSubject(t.Context(), subject)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue // it was due
		}
		if err != nil {
			t.Fatal(err)
		}
		again := &eventsv1.ItemBatch{}
		if err := proto.Unmarshal(m.Data, again); err != nil {
			t.Fatal(err)
		}
		retries[again.GetItems()[0].GetIndex()] = retry{ItemBatch: again, header: m.Header}
	}
	return retries
}

// outcomes are the states of a batch's items in the bucket.
func (w *world) outcomes(t *testing.T, batch *eventsv1.ItemBatch) map[int32]eventsv1.OutcomeState {
	t.Helper()
	return maps.Collect(checkpoint.States(w.entry(t, batch)))
}

func (w *world) entry(t *testing.T, batch *eventsv1.ItemBatch) *eventsv1.Entry {
	t.Helper()
	entry, err := w.Checkpoints.Read(t.Context(), firstKey(batch))
	if err != nil {
		t.Fatal(err)
	}
	return entry
}

func firstKey(batch *eventsv1.ItemBatch) checkpoint.Key {
	return checkpoint.Key{
		Run: batch.GetRunId(), Attempt: batch.GetAttempt(), Batch: batch.GetBatch(),
		Index: checkpoint.First,
	}
}

func (w *world) wantOutcomes(t *testing.T, batch *eventsv1.ItemBatch, want map[int32]eventsv1.OutcomeState) {
	t.Helper()
	if diff := cmp.Diff(want, w.outcomes(t, batch)); diff != "" {
		t.Errorf("outcomes: %s", diff)
	}
}

// wantReceipts compares the items of which Postgres has receipts.
func (w *world) wantReceipts(t *testing.T, batch *eventsv1.ItemBatch, want ...int32) {
	t.Helper()
	var receipts []postgres.Receipt
	err := w.Store.InTx(t.Context(), func(tx *postgres.Tx) (err error) {
		receipts, err = tx.Receipts(t.Context(), uuid.MustParse(batch.GetRunId()), batch.GetAttempt())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []int32
	for _, receipt := range receipts {
		for index := range int32(postgres.MaxReceiptItems) {
			if receipt.Has(index) {
				got = append(got, index)
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("receipts: %s", diff)
	}
}

// refuse has Postgres refuse rows of a table where a condition holds, until it is mended.
func (w *world) refuse(t *testing.T, table, condition string) (mend func()) {
	t.Helper()
	return w.refuseWith(t, "54000", table, condition)
}

// refuseWith is refuse with an error code of Postgres.
func (w *world) refuseWith(t *testing.T, code, table, condition string) (mend func()) {
	t.Helper()
	w.exec(t, fmt.Sprintf(`create or replace function refuse_%[1]s() returns trigger language plpgsql as $$ begin
		if %[2]s then raise exception 'refused by the test' using errcode = '%[3]s'; end if;
		return new; end $$`, table, condition, code))
	w.exec(t, fmt.Sprintf("create trigger refuse before insert or update on %[1]s for each row execute function "+
		"refuse_%[1]s()", table))
	return func() { w.exec(t, "drop trigger refuse on "+table) }
}
