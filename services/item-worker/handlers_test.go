package itemworker_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/contracts"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
	itemworker "github.com/tributaryhq/tributary/services/item-worker"
)

// without makes a worker of a build that has no handler.
func without(c *platform.Config) { c.Handlers = nil }

// logBuffer keeps what several goroutines log.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) count(text string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Count(b.text.String(), text)
}

func (b *logBuffer) use(c *platform.Config) { c.Log = slog.New(slog.NewTextHandler(b, nil)) }

// hadHandler notes that a worker of another build had a handler.
func (w *world) hadHandler(t *testing.T, provider, kind, eventType string) {
	t.Helper()
	w.exec(t, "insert into handled_types values ($1, $2, $3, now() - interval '1 day', now() - interval '1 hour')",
		provider, kind, eventType)
}

// records counts the rows that a run has in the table of records.
func (w *world) records(t *testing.T, batch *eventsv1.ItemBatch) (n int) {
	t.Helper()
	w.scan(t, "select count(*) from records where run_id = $1", batch.GetRunId(), &n)
	return n
}

// TestItemsWaitForTheWorkerWithTheirHandler has a worker of an older build, without the handler, beside one that has
// it. Whichever takes an item first, none goes to the records, and all are handled.
func TestItemsWaitForTheWorkerWithTheirHandler(t *testing.T) {
	t.Parallel()
	var log logBuffer
	newer := newWorld(t, obey, asIs)
	older := newer.beside(t, obey, func(c *platform.Config) { without(c); log.use(c) })
	stopOlder := older.start(t)
	unhandled := with(newer.open(t, 1), `"before"`)
	newer.send(t, unhandled)
	newer.awaitAck(t, unhandled)
	if n := newer.records(t, unhandled); n != 1 {
		t.Fatalf("%d records of an item that no worker ever handled, want 1", n)
	}

	stopNewer := newer.start(t)
	await(t, "the announcement", func() bool {
		var n int
		newer.scan(t, "select count(*) from handled_types where event_type = $1", event, &n)
		return n == 1
	})
	stopNewer()
	alone := with(newer.open(t, 1), `"first"`, `"second"`)
	newer.send(t, alone)
	newer.awaitAck(t, alone)
	newer.wantOutcomes(t, alone, map[int32]eventsv1.OutcomeState{0: retrying, 1: retrying})
	for _, item := range newer.retries(t, alone)[0].GetItems() {
		if item.GetTries() != 0 || item.GetDeferrals() == 0 {
			t.Errorf("an item waits after %d tries and %d deferrals", item.GetTries(), item.GetDeferrals())
		}
	}

	newer = newer.beside(t, obey, asIs)
	newer.start(t)
	batches := []*eventsv1.ItemBatch{alone}
	for i := range 20 {
		batch := with(newer.open(t, 1), fmt.Sprint(i))
		newer.send(t, batch)
		batches = append(batches, batch)
	}
	for _, batch := range batches {
		newer.awaitAck(t, batch)
	}
	stopOlder()
	for i, batch := range batches {
		await(t, "an item to be handled", func() bool {
			for _, state := range newer.allOutcomes(t, batch) {
				if state != done {
					return false
				}
			}
			return true
		})
		if n := newer.records(t, batch); n > 0 {
			t.Errorf("batch %d: %d records of items that have a handler", i, n)
		}
	}
	for _, payload := range []string{`"first"`, `"second"`, "0", "19"} {
		if n := newer.called(payload); n != 1 {
			t.Errorf("the handler was called %d times for %s", n, payload)
		}
	}
	if n := log.count("level=WARN msg=\"this worker has no handler"); n != 1 {
		t.Errorf("the older worker warned %d times, want once", n)
	}
}

// allOutcomes are the states of a batch's items, those of later hops among them.
func (w *world) allOutcomes(t *testing.T, batch *eventsv1.ItemBatch) map[int32]eventsv1.OutcomeState {
	t.Helper()
	states := w.outcomes(t, batch)
	key := firstKey(batch)
	for _, item := range batch.GetItems() {
		key.Index = item.GetIndex()
		entry, err := w.Checkpoints.Read(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		maps.Insert(states, checkpoint.States(entry))
	}
	return states
}

// TestItemsWhoseHandlerWasRemoved has a worker alone without a handler that another one had. The item waits, and is
// dead at the end of its window with a reason that says what to do; a type that nobody handled is stored. Once the
// handler is forgotten, the item is stored too.
func TestItemsWhoseHandlerWasRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t, obey, asIs)
	w.start(t)
	w.hadHandler(t, "shop", "item", "shop.Order")
	w.hadHandler(t, "shop", "webhook", "shop.Loose")
	w.hadHandler(t, "other", "item", "shop.Loose")
	made := func(since time.Time) *eventsv1.ItemBatch {
		batch := with(w.open(t, 1), `"order"`, `"loose"`, "done")
		batch.Items[0].EventType, batch.Items[1].EventType, batch.FirstAt = "shop.Order", "shop.Loose",
			timestamppb.New(since)
		return batch
	}
	began := time.Now()
	waits, late := made(began), made(began.Add(-7*time.Hour))
	for _, batch := range []*eventsv1.ItemBatch{waits, late} {
		batch.Items[0].Deferrals = 20
		w.send(t, batch)
		w.awaitAck(t, batch)
		if n := w.records(t, batch); n != 1 {
			t.Errorf("%d records, want the one of the type that nobody handled", n)
		}
	}
	w.wantOutcomes(t, waits, map[int32]eventsv1.OutcomeState{0: retrying, 1: done, 2: done})
	wantHop(t, w.retries(t, waits)[0], began, 5*time.Minute)
	w.wantOutcomes(t, late, map[int32]eventsv1.OutcomeState{0: dead, 1: done, 2: done})
	if diff := cmp.Diff(map[int32]died{0: {
		Reason: "waited too long", Status: "open",
		Error: "retry after 5m0s: this worker has no handler for shop.Order, and another had one: run a build that " +
			"has it, " +
			"or have the type stored as records from now on: tributary handlers forget shop shop.Order",
	}}, w.dead(t, late)); diff != "" {
		t.Error(diff)
	}

	forget := dbsqlc.HandledTypeForgetParams{
		Provider: "shop", Kind: "item", EventType: "shop.Order",
		SeenBefore: time.Now(),
	}
	if _, err := w.Store.HandledTypeForget(t.Context(), forget); err != nil {
		t.Fatal(err)
	}
	forgotten := made(began)
	w.send(t, forgotten)
	w.awaitAck(t, forgotten)
	if n := w.records(t, forgotten); n != 2 {
		t.Errorf("%d records after the handler was forgotten, want 2", n)
	}
	w.wantReceipts(t, forgotten, 0, 1, 2)
}

// wantHop wants a message that brings one item again after a wait.
func wantHop(t *testing.T, r retry, since time.Time, wait time.Duration) {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, strings.TrimPrefix(r.header.Get("Nats-Schedule"), "@at "))
	if err != nil || at.Before(since.Add(wait*8/10-time.Second)) || at.After(time.Now().Add(wait*12/10+time.Second)) {
		t.Errorf("the item comes again at %s (%v), want after %s", at, err, wait)
	}
	if item := r.GetItems()[0]; len(r.GetItems()) != 1 || item.GetTries() != 0 || item.GetDeferrals() != 21 {
		t.Errorf("what comes again: %v", r.GetItems())
	}
}

// TestHandlersAreAnnouncedFirst has Postgres refuse the announcement for a while: no item is taken before it is stored.
// A type that can't be stored stops nothing, and a second announcement within the minute writes nothing.
func TestHandlersAreAnnouncedFirst(t *testing.T) {
	t.Parallel()
	var log logBuffer
	var w *world
	announced := make(chan int, 1)
	handler := func(ctx context.Context, _ *contracts.Integration, _ []byte) error {
		var n int
		err := w.pool.QueryRow(ctx, "select count(*) from handled_types").Scan(&n)
		announced <- n
		return err
	}
	w = newWorld(t, handler, func(c *platform.Config) {
		log.use(c)
		c.Handlers["bad\x00type"] = []itemworker.ItemHandler{obey}
		c.Handlers["no.handler"] = nil
	})
	mend := w.refuse(t, "handled_types", "true")
	batch := with(w.open(t, 1), "done")
	w.send(t, batch)
	w.start(t)
	await(t, "a refused announcement", func() bool { return log.count("could not announce handlers") > 1 })
	mend()
	if n := <-announced; n != 1 {
		t.Errorf("%d types were announced when the first item was handled, want 1", n)
	}
	var before, after string
	w.scan(t, "select provider || ' ' || kind || ' ' || xmin from handled_types where event_type = $1", event, &before)
	if !strings.HasPrefix(before, "shop item ") {
		t.Errorf("announced: %s", before)
	}
	second := w.beside(t, obey, asIs)
	second.start(t)
	other := with(w.open(t, 1), "done")
	w.send(t, other)
	w.awaitAck(t, other)
	w.scan(t, "select provider || ' ' || kind || ' ' || xmin from handled_types where event_type = $1", event, &after)
	if before != after {
		t.Errorf("the row was written again within a minute: %s, then %s", before, after)
	}
}
