package itemworker_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// countRefusals is a condition for [world.refuse] that always holds, and counts how often it was asked, also by what
// was rolled back.
func (w *world) countRefusals(t *testing.T) (condition string, refusals func() int) {
	t.Helper()
	w.exec(t, "create sequence refusals")
	return "nextval('refusals') > 0", func() (n int) {
		w.scan(t, "select case when is_called then last_value else 0 end from refusals where $1::integer = 0", 0, &n)
		return n
	}
}

// TestADeadItemAndItsEventAreOne has Postgres refuse the event for a while: there is no row without it.
func TestADeadItemAndItsEventAreOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t, obey, asIs)
	condition, refusals := w.countRefusals(t)
	batch := with(w.open(t, 1), "permanent")
	mend := w.refuse(t, "outbox", condition)
	w.start(t)
	w.send(t, batch)
	await(t, "a refusal", func() bool { return refusals() > 0 })
	if got := w.dead(t, batch); len(got) > 0 {
		t.Errorf("a row without its event: %+v", got)
	}
	mend()
	w.awaitAck(t, batch)
	if got, n := w.dead(t, batch), w.events(t, batch, events.ItemFailed); len(got) != 1 || n != 1 {
		t.Errorf("%d rows and %d events of one dead item", len(got), n)
	}
	w.wantOutcomes(t, batch, map[int32]eventsv1.OutcomeState{0: dead})
	if n := w.called("permanent"); n != 1 {
		t.Errorf("the handler was called %d times", n)
	}
}

// TestADeadItemThatPostgresRefusesHoldsUpNoOther has Postgres refuse the row of one of three dead items.
func TestADeadItemThatPostgresRefusesHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t, obey, asIs)
	batch := with(w.open(t, 1), "permanent", "permanent", "permanent")
	mend := w.refuseWith(t, "P0001", "dead_items", "new.external_id = 'x1'")
	w.start(t)
	w.send(t, batch)
	await(t, "the others to be stored", func() bool { return len(w.dead(t, batch)) == 2 })
	mend()
	w.awaitAck(t, batch)
	w.wantOutcomes(t, batch, map[int32]eventsv1.OutcomeState{0: dead, 1: dead, 2: dead})
	if n := w.called("permanent"); n != 3 {
		t.Errorf("the handler was called %d times for three items", n)
	}
}

// TestNothingIsAcknowledgedBeforeItIsWritten has Postgres refuse receipts for longer than outcomes are kept.
func TestNothingIsAcknowledgedBeforeItIsWritten(t *testing.T) {
	t.Parallel()
	w := newWorld(t, obey, func(c *platform.Config) { c.ItemWorker.Hold = 10 * time.Millisecond })
	condition, _ := w.countRefusals(t)
	batch := with(w.open(t, 1), "done")
	mend := w.refuse(t, "receipts", condition)
	w.start(t)
	w.send(t, batch)
	filter := wire.RunFilters("shop", batch.GetIntegrationId(), batch.GetRunId(), 0)[0]
	await(t, "the batch to come again", func() bool { return w.called("done") > 1 || w.messages(t, filter) == 0 })
	w.wantOutcomes(t, batch, map[int32]eventsv1.OutcomeState{})
	mend()
	w.awaitAck(t, batch)
	w.wantOutcomes(t, batch, map[int32]eventsv1.OutcomeState{0: done})
	w.wantReceipts(t, batch, 0)
}

// TestSinkKeepsTheNewestVersion stores records that come in any order, in one batch and in several, with their receipts
// and the events that tell of them.
func TestSinkKeepsTheNewestVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t, obey, asIs)
	w.start(t)
	record := func(n int, id, payload, version string) *eventsv1.Item {
		return &eventsv1.Item{
			Index: int32(n), EventType: "shop.Order", ExternalId: id, Payload: []byte(payload),
			Checkpoint: []byte(version),
		}
	}
	batch := w.open(t, 1)
	integration := uuid.MustParse(batch.GetIntegrationId())
	for number, items := range [][]*eventsv1.Item{
		{
			record(0, "a", `"a20"`, "20"), record(1, "b", `"b10"`, "10"), record(2, "b", `"b9"`, "9"),
			record(3, "c", `"c1"`, "1"),
		},
		{record(0, "a", `"a3"`, "3"), record(1, "c", `"c100"`, "100")},
	} {
		batch.Batch, batch.Items = int32(number), items
		w.send(t, batch)
		w.awaitAck(t, batch)
		if n := w.events(t, batch, events.RecordsChanged); n != number+1 {
			t.Errorf("%d events tell of %d changes", n, number+1)
		}
		for index := range items {
			w.wantState(t, batch, int32(index), done)
		}
	}
	for id, want := range map[string]string{"a": "a20", "b": "b10", "c": "c100"} {
		row, err := w.Store.RecordGet(t.Context(), dbsqlc.RecordGetParams{
			IntegrationID: integration,
			EventType:     "shop.Order", ExternalID: id,
		})
		var got string
		if err == nil {
			err = json.Unmarshal(row.Payload, &got)
		}
		if err != nil || got != want {
			t.Errorf("record %s is %q, %v; want %q", id, got, err, want)
		}
	}
	var receipts int
	w.scan(t, "select coalesce(sum(bit_count(done)), 0) from receipts where run_id = $1", batch.GetRunId(), &receipts)
	if receipts != 6 {
		t.Errorf("%d receipts for 6 items", receipts)
	}
}

func (w *world) wantState(t *testing.T, batch *eventsv1.ItemBatch, index int32, want eventsv1.OutcomeState) {
	t.Helper()
	if got := w.outcomes(t, batch)[index]; got != want {
		t.Errorf("item %d of batch %d is %v, want %v", index, batch.GetBatch(), got, want)
	}
}

// TestABadRecordHurtsOnlyItself has Postgres refuse the content of one record of three: it is dead at once, as no try
// would be better.
func TestABadRecordHurtsOnlyItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t, obey, asIs)
	w.refuse(t, "records", "new.external_id = 'x1'")
	batch := records(with(w.open(t, 1), "1", "2", "3"))
	w.start(t)
	w.send(t, batch)
	w.awaitAck(t, batch)
	w.wantOutcomes(t, batch, map[int32]eventsv1.OutcomeState{0: done, 1: dead, 2: done})
	w.wantReceipts(t, batch, 0, 2)
	if n, err := w.Store.RecordCount(t.Context(), uuid.MustParse(batch.GetIntegrationId())); err != nil || n != 2 {
		t.Errorf("%d records, %v; want 2", n, err)
	}
}

// TestRecordsThatPostgresGivesUp has a statement run out of its time, or of its time for locks, because of one record
// of three: that one waits, which costs no try, and the others are stored.
func TestRecordsThatPostgresGivesUp(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"57014", "55P03"} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, obey, patientWaits)
			w.refuseWith(t, code, "records", "new.external_id = 'x1'")
			batch := records(with(w.open(t, 1), "1", "2", "3"))
			w.start(t)
			w.send(t, batch)
			w.awaitAck(t, batch)
			w.wantOutcomes(t, batch, map[int32]eventsv1.OutcomeState{0: done, 1: retrying, 2: done})
			w.wantReceipts(t, batch, 0, 2)
			if got := checkpoint.Find(w.entry(t, batch), 1).GetWait(); got.GetTries() != 0 {
				t.Errorf("the record waits after %d tries", got.GetTries())
			}
		})
	}
}

// TestStatementsThatPostgresGivesUp has Postgres give up on every record: it is asked for three of them alone, and the
// rest waits.
func TestStatementsThatPostgresGivesUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, obey, patientWaits)
	condition, refusals := w.countRefusals(t)
	w.refuseWith(t, "57014", "records", condition)
	batch := records(with(w.open(t, 1), "1", "2", "3", "4", "5", "6"))
	w.start(t)
	w.send(t, batch)
	w.awaitAck(t, batch)
	w.wantOutcomes(t, batch, map[int32]eventsv1.OutcomeState{
		0: retrying, 1: retrying, 2: retrying, 3: retrying,
		4: retrying, 5: retrying,
	})
	if n := refusals(); n != 4 {
		t.Errorf("Postgres was asked %d times, want 4", n)
	}
}

// patientWaits brings nothing again within a test that was put off.
func patientWaits(c *platform.Config) {
	c.ItemWorker.Waits.Least, c.ItemWorker.Waits.LeastMost = time.Hour, time.Hour
}

// records has all items of a batch be of a type without a handler.
func records(batch *eventsv1.ItemBatch) *eventsv1.ItemBatch {
	for _, item := range batch.GetItems() {
		item.EventType = "shop.Order"
	}
	return batch
}

// TestItemsThatWereRunningWhenTheirWorkerDied are charged once the lease of their worker is over, and dead at the
// second charge. Others go on.
func TestItemsThatWereRunningWhenTheirWorkerDied(t *testing.T) {
	t.Parallel()
	var w *world
	var workers jetstream.KeyValue
	w = newWorld(t, func(ctx context.Context, _ *contracts.Integration, payload []byte) error {
		if string(payload) != "leased" {
			return nil
		}
		if _, err := workers.Get(ctx, "alive"); !errors.Is(err, jetstream.ErrKeyNotFound) {
			t.Errorf("an item runs here while it may be running in a worker that lives: %v", err)
		}
		return nil
	}, func(c *platform.Config) { c.Timing.WorkerLease = 3 * time.Second })
	var err error
	if workers, err = w.js.KeyValue(t.Context(), wire.BucketWorkers); err != nil {
		t.Fatal(err)
	}
	running := func(incarnation string, charges int32, payloads ...string) *eventsv1.ItemBatch {
		batch := with(w.open(t, 1), payloads...)
		_, err := w.Checkpoints.Merge(t.Context(), firstKey(batch), &eventsv1.Entry{
			Size: int32(len(payloads)),
			Outcomes: []*eventsv1.Outcome{{
				State: eventsv1.OutcomeState_OUTCOME_STATE_RUNNING, Incarnation: incarnation, Charges: charges,
			}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return batch
	}
	once, twice, leased := running("gone", 0, "once", "beside it"), running("gone", 1, "twice", "beside this"),
		running("alive", 0, "leased")
	if _, err := workers.Put(t.Context(), "alive", nil); err != nil {
		t.Fatal(err)
	}
	w.start(t)
	for _, batch := range []*eventsv1.ItemBatch{leased, once, twice} {
		w.send(t, batch)
	}
	for _, batch := range []*eventsv1.ItemBatch{leased, once, twice} {
		w.awaitAck(t, batch)
	}
	w.wantOutcomes(t, once, map[int32]eventsv1.OutcomeState{0: done, 1: done})
	w.wantOutcomes(t, twice, map[int32]eventsv1.OutcomeState{0: dead, 1: done})
	w.wantOutcomes(t, leased, map[int32]eventsv1.OutcomeState{0: done})
	if got := w.dead(t, twice)[0].Reason; got != "killed its worker" || w.called("twice") > 0 {
		t.Errorf("charged twice, the item is dead for %q, after %d calls", got, w.called("twice"))
	}
	if len(w.dead(t, once))+len(w.dead(t, leased)) > 0 {
		t.Error("an item is dead at its first charge")
	}
	for _, batch := range []*eventsv1.ItemBatch{once, leased} {
		if diff := cmp.Diff(int32(1), chargesOf(w.entry(t, batch))); diff != "" {
			t.Errorf("charges: %s", diff)
		}
	}
}

// chargesOf are those of all items of an entry.
func chargesOf(entry *eventsv1.Entry) (n int32) {
	for _, outcome := range entry.GetOutcomes() {
		n += outcome.GetCharges()
	}
	return n
}

// TestABatchThatComesBackIsTakenOneItemAtATime hands a batch back twice, as workers do that die.
func TestABatchThatComesBackIsTakenOneItemAtATime(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		deaths, alone int32
	}{{deaths: 1, alone: 0}, {deaths: 2, alone: 3}} {
		var alone atomic.Int32
		w := newWorld(t, obey, func(c *platform.Config) {
			c.Crash = func(point string) {
				if point == "item-worker: marked running" {
					alone.Add(1)
				}
			}
		})
		batch := with(w.open(t, 1), "a", "b", "c")
		w.send(t, batch)
		consumer, err := w.js.CreateOrUpdateConsumer(t.Context(), wire.StreamItems,
			wire.ItemsConsumer(wire.Shared, "shop", wire.DefaultTiming()))
		if err != nil {
			t.Fatal(err)
		}
		for range tt.deaths {
			m, err := consumer.Next(jetstream.FetchMaxWait(20 * time.Second))
			if err == nil {
				err = m.Nak()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		w.start(t)
		w.awaitAck(t, batch)
		w.wantOutcomes(t, batch, map[int32]eventsv1.OutcomeState{0: done, 1: done, 2: done})
		if got := alone.Load(); got != tt.alone {
			t.Errorf("after %d deaths, %d items ran alone, want %d", tt.deaths, got, tt.alone)
		}
		if folded := len(w.entry(t, batch).GetFolded()) > 0; folded != (tt.alone == 0) {
			t.Errorf("after %d deaths, the reducer was called: %v; beside an item it could charge that with its deeds",
				tt.deaths, folded)
		}
	}
}

// TestAnItemIsMarkedOnceItRunsAlone stops a worker whose item waits for the end of another: it has not run, and so
// nothing may charge it.
func TestAnItemIsMarkedOnceItRunsAlone(t *testing.T) {
	t.Parallel()
	careful := listener{
		message: "batch came back without progress; its items run one at a time", once: &sync.Once{},
		logged: make(chan struct{}),
	}
	release := make(chan struct{})
	releaseOnce := sync.OnceFunc(func() { close(release) })
	defer releaseOnce()
	w := newWorld(t, func(ctx context.Context, in *contracts.Integration, payload []byte) error {
		if string(payload) == "slow" {
			<-release
		}
		return nil
	}, func(c *platform.Config) { c.Log = slog.New(careful) })
	suspect := with(w.open(t, 1), "suspect")
	w.send(t, suspect)
	consumer, err := w.js.CreateOrUpdateConsumer(t.Context(), wire.StreamItems,
		wire.ItemsConsumer(wire.Shared, "shop", wire.DefaultTiming()))
	if err != nil {
		t.Fatal(err)
	}
	var held jetstream.Msg
	for range 2 {
		if held != nil {
			_ = held.Nak()
		}
		if held, err = consumer.Next(jetstream.FetchMaxWait(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	stop := w.start(t)
	w.send(t, with(w.open(t, 1), "slow"))
	await(t, "the slow one to be in work", func() bool {
		_ = held.InProgress()
		return w.called("slow") == 1
	})
	if err := held.Nak(); err != nil {
		t.Fatal(err)
	}
	<-careful.logged
	stopped := make(chan struct{})
	go func() {
		stop()
		close(stopped)
	}()
	await(t, "the suspect to be handed back", func() bool { return w.entry(t, suspect).GetProgressAtDelivery() == 3 })
	w.wantOutcomes(t, suspect, map[int32]eventsv1.OutcomeState{})
	if n := w.called("suspect"); n > 0 {
		t.Errorf("the suspect was called %d times", n)
	}
	releaseOnce()
	<-stopped
}
