package itemworker_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// TestBatchesThatTheirRunDoesNotAccept are acknowledged without being run.
func TestBatchesThatTheirRunDoesNotAccept(t *testing.T) {
	t.Parallel()
	w := newWorld(t, obey, asIs)
	w.start(t)
	older, closed, unknown := w.open(t, 4), w.open(t, 4), w.open(t, 4)
	older.Attempt = 3
	w.exec(t, "update sync_runs set closed_at = now(), state = 'cancelled' where id = $1", closed.GetRunId())
	unknown.RunId = uuid.NewString()
	for name, batch := range map[string]*eventsv1.ItemBatch{"older": older, "closed": closed, "unknown": unknown} {
		w.send(t, with(batch, name))
		w.awaitAck(t, batch)
		if w.called(name) > 0 {
			t.Errorf("%s: the batch was run", name)
		}
		w.wantOutcomes(t, batch, map[int32]eventsv1.OutcomeState{})
	}
	newest := with(w.open(t, 4), "newest")
	w.send(t, newest)
	w.awaitAck(t, newest)
	w.wantOutcomes(t, newest, map[int32]eventsv1.OutcomeState{0: done})
}

// redriven makes a dead item, and the batch that brings it again as a hop.
func (w *world) redriven(t *testing.T, payload, status string, hop int32) (*eventsv1.ItemBatch, uuid.UUID) {
	t.Helper()
	batch, id := with(w.open(t, 2), payload), postgres.NewID()
	w.exec(t, "update sync_runs set closed_at = now(), state = 'partial', complete = true where id = $1",
		batch.GetRunId())
	w.exec(t, `insert into dead_items (id, integration_id, provider, run_id, attempt, batch, item_index, event_type, external_id, payload, reason, error, tries, hop, status, created_at, updated_at)
		values ($1, $2, 'shop', $3, 2, 0, 0, $4, 'x0', '{}', 'tries used up', 'no', 5, 7, $5, now(), now())`, id, batch.GetIntegrationId(), batch.GetRunId(), event, status)
	batch.DeadItemId, batch.Items[0].Hop = id.String(), hop
	return batch, id
}

// TestRedrives brings dead items again: only the newest redrive of an item that is under redrive runs, and its end is
// written to the row.
func TestRedrives(t *testing.T) {
	t.Parallel()
	w := newWorld(t, obey, asIs)
	w.start(t)
	for name, tt := range map[string]struct {
		payload, status string
		hop             int32
		want            died
		calls           int
	}{
		"done": {
			payload: "done", status: "redriving", hop: 7,
			want: died{Status: "resolved", Reason: "tries used up", Error: "no", Tries: 5}, calls: 1,
		},
		"skipped": {
			payload: "skip", status: "redriving", hop: 7,
			want: died{Status: "skipped", Reason: "tries used up", Error: "no", Tries: 5}, calls: 1,
		},
		"dead": {payload: "permanent", status: "redriving", hop: 7, want: died{
			Status: "open", Reason: "permanent",
			Error: "never",
		}, calls: 1},
		"a later": {
			payload: "later hop", status: "redriving", hop: 8,
			want: died{Status: "resolved", Reason: "tries used up", Error: "no", Tries: 5}, calls: 1,
		},
		"an older": {
			payload: "older hop", status: "redriving", hop: 6,
			want: died{Status: "redriving", Reason: "tries used up", Error: "no", Tries: 5},
		},
		"given up": {payload: "given up", status: "open", hop: 7, want: died{
			Status: "open", Reason: "tries used up",
			Error: "no", Tries: 5,
		}},
		"succeeded": {
			payload: "was done", status: "resolved", hop: 7,
			want: died{Status: "resolved", Reason: "tries used up", Error: "no", Tries: 5},
		},
	} {
		batch, _ := w.redriven(t, tt.payload, tt.status, tt.hop)
		w.send(t, batch)
		w.awaitAck(t, batch)
		if got := w.dead(t, batch)[0]; got != tt.want {
			t.Errorf("%s: the row says %+v, want %+v", name, got, tt.want)
		}
		if told := w.events(t, batch, events.ItemFailed); told == 1 != (name == "dead") {
			t.Errorf("%s: %d events say that it is dead", name, told)
		}
		if n := w.called(tt.payload); n != tt.calls {
			t.Errorf("%s: the handler was called %d times, want %d", name, n, tt.calls)
		}
	}
}

// raise has a run begin its next attempt.
func (w *world) raise(ctx context.Context, run string) error {
	_, err := w.pool.Exec(ctx, "update sync_runs set attempt = attempt + 1 where id = $1", run)
	return err
}

// TestAnItemThatDiesTooLate dies after its run has begun its next attempt, which has the record again.
func TestAnItemThatDiesTooLate(t *testing.T) {
	t.Parallel()
	var w *world
	var batch *eventsv1.ItemBatch
	w = newWorld(t, func(ctx context.Context, in *contracts.Integration, payload []byte) error {
		if err := w.raise(ctx, batch.GetRunId()); err != nil {
			return err
		}
		return obey(ctx, in, payload)
	}, func(c *platform.Config) { c.ItemWorker.Progress = time.Hour })
	batch = with(w.open(t, 1), "permanent")
	w.start(t)
	w.send(t, batch)
	w.awaitAck(t, batch)
	if got := w.dead(t, batch); len(got) > 0 {
		t.Errorf("the run has a dead item of its attempt before: %+v", got)
	}
	w.wantOutcomes(t, batch, map[int32]eventsv1.OutcomeState{})
}

// listener is a log that says when a message was logged.
type listener struct {
	slog.Handler
	message string
	once    *sync.Once
	logged  chan struct{}
}

func (l listener) Enabled(context.Context, slog.Level) bool { return true }
func (l listener) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l listener) WithGroup(string) slog.Handler            { return l }

func (l listener) Handle(_ context.Context, r slog.Record) error {
	if r.Message == l.message {
		l.once.Do(func() { close(l.logged) })
	}
	return nil
}

// TestABatchInWorkWhoseRunGoesOn has the run begin its next attempt while a batch of the attempt before is in work:
// nothing of it is written.
func TestABatchInWorkWhoseRunGoesOn(t *testing.T) {
	t.Parallel()
	unwanted := listener{message: "the rest of a batch is not wanted", once: &sync.Once{}, logged: make(chan struct{})}
	var w *world
	var batch *eventsv1.ItemBatch
	w = newWorld(t, func(ctx context.Context, _ *contracts.Integration, _ []byte) error {
		if err := w.raise(ctx, batch.GetRunId()); err != nil {
			return err
		}
		select {
		case <-unwanted.logged:
		case <-time.After(50 * time.Second):
			t.Error("the worker does not say that the rest is not wanted")
		}
		return nil
	}, func(c *platform.Config) { c.Log = slog.New(unwanted) })
	batch = with(w.open(t, 1), "done")
	w.start(t)
	w.send(t, batch)
	w.awaitAck(t, batch)
	w.wantOutcomes(t, batch, map[int32]eventsv1.OutcomeState{})
	w.wantReceipts(t, batch)
}

// TestItemsWaitForAKeyThatIsLost has credentials that can't be opened: the items wait, as if they had asked for it, and
// the batch does not come again and again.
func TestItemsWaitForAKeyThatIsLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, obey, asIs)
	batch := with(w.open(t, 1), "one", "two")
	w.exec(t, "update credentials set key_id = 'lost' where integration_id = $1", batch.GetIntegrationId())
	w.start(t)
	w.send(t, batch)
	w.awaitAck(t, batch)
	w.wantOutcomes(t, batch, map[int32]eventsv1.OutcomeState{0: retrying, 1: retrying})
	if n := w.called("one") + w.called("two"); n > 0 {
		t.Errorf("handlers were called %d times", n)
	}
	w.exec(t, "update credentials set key_id = 'test' where integration_id = $1", batch.GetIntegrationId())
	await(t, "the items to be done", func() bool { return w.called("one") == 1 && w.called("two") == 1 })
}

// TestABatchThatCanNotBeBegun has Postgres fail for a reason that is no outage when it is asked whether a run goes on:
// the batch comes again, its delivery counts as no failure of its items, and it is handled once all is well.
func TestABatchThatCanNotBeBegun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, obey, asIs)
	w.start(t)
	// The worker has begun once it has handled a first batch.
	first := with(w.open(t, 1), "first")
	w.send(t, first)
	w.awaitAck(t, first)
	batch := with(w.open(t, 1), "done")
	w.exec(t, "alter table sync_runs rename to sync_runs_away")
	w.send(t, batch)
	key := checkpoint.Key{
		Run: batch.GetRunId(), Attempt: batch.GetAttempt(), Batch: batch.GetBatch(),
		Index: checkpoint.First,
	}
	await(t, "the batch to be handed back", func() bool {
		entry, err := w.Checkpoints.Read(t.Context(), key)
		return err == nil && entry.GetProgressAtDelivery() >= 2
	})
	w.exec(t, "alter table sync_runs_away rename to sync_runs")
	w.awaitAck(t, batch)
	w.wantOutcomes(t, batch, map[int32]eventsv1.OutcomeState{0: done})
	if n := w.called("done"); n != 1 {
		t.Errorf("the handler was called %d times", n)
	}
}
