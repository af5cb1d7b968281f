package syncer_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/contracts"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

type entry struct {
	Text string `json:"text"`
}

// dispatches hands over an entry for each name, which is also its text.
func dispatches(names ...string) enumeration {
	return func(ctx context.Context, session contracts.SyncSession, _ string) error {
		for _, name := range names {
			if err := session.Dispatch(ctx, entry{Text: name}, 1, name); err != nil {
				return err
			}
		}
		return nil
	}
}

func patientLinger(c *platform.Config) { c.Syncer.Linger = time.Hour }

// TestWhatIsHandedOver has a provider hand over more than a batch may have, a record twice, and items that can't travel.
func TestWhatIsHandedOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *platform.Config) { patientLinger(c); c.Syncer.BatchItems = 3 })
	run := w.open(t, func(ctx context.Context, session contracts.SyncSession, method string) error {
		err := dispatches("a", "b", "c", "d", "b", "e", "f", "g")(ctx, session, method)
		return errors.Join(err,
			session.Dispatch(ctx, entry{Text: strings.Repeat("x", 3<<20)}, 1, "large"),
			session.Dispatch(ctx, map[string]any{"no": make(chan int)}, 1, "no JSON"),
			session.Dispatch(ctx, entry{Text: "changed"}, 2, "b"))
	})
	run = w.enumerate(t, run)
	if run.Attempts != 1 || run.Tries != 1 || run.Attempt == 0 {
		t.Errorf("the run is at attempt %d, the %d. of them, after %d tries", run.Attempt, run.Attempts, run.Tries)
	}
	w.wantTotal(t, run, 10, 6, 1)
	if diff := cmp.Diff(map[int32]sent{
		0: {Number: 0, Attempt: run.Attempt, Lane: wire.Shared, IDs: []string{"a", "b", "c"}},
		1: {Number: 1, Attempt: run.Attempt, Lane: wire.Bulk, IDs: []string{"d", "e", "f"}},
		2: {Number: 2, Attempt: run.Attempt, Lane: wire.Bulk, IDs: []string{"g"}},
		5: {Number: 5, Attempt: run.Attempt, Lane: wire.Bulk, IDs: []string{"b"}},
	}, w.batches(t, run)); diff != "" {
		t.Error(diff)
	}
	for batch, want := range map[int32]string{3: "too large", 4: "unencodable"} {
		var reason string
		err := w.pool.QueryRow(t.Context(), "select reason from dead_items where run_id = $1 and attempt = $2 and batch = $3", run.ID, run.Attempt, batch).Scan(&reason)
		if err != nil || reason != want {
			t.Errorf("batch %d has an item that is dead for %q, %v; want %q", batch, reason, err, want)
		}
		stored, err := w.Checkpoints.Read(t.Context(), checkpoint.Key{Run: run.ID.String(), Attempt: run.Attempt, Batch: batch, Index: checkpoint.First})
		if err != nil || stored.GetSize() != 1 || checkpoint.Find(stored, 0).GetState() != eventsv1.OutcomeState_OUTCOME_STATE_DEAD {
			t.Errorf("the entry of batch %d is %v, %v", batch, stored, err)
		}
	}
}

// TestBatchesHaveABoundInBytes hands over items of which two fit into a batch, and one that fills more than one alone.
func TestBatchesHaveABoundInBytes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *platform.Config) { patientLinger(c); c.Syncer.BatchBytes = 2000 })
	run := w.open(t, func(ctx context.Context, session contracts.SyncSession, _ string) error {
		for n, size := range []int{800, 800, 800, 800, 3000, 800} {
			if err := session.Dispatch(ctx, entry{Text: strings.Repeat("x", size)}, 1, fmt.Sprint(n)); err != nil {
				return err
			}
		}
		return nil
	})
	run = w.enumerate(t, run)
	w.wantTotal(t, run, 6, 4, 0)
	got := [][]string{}
	for number := range int32(4) {
		got = append(got, w.batches(t, run)[number].IDs)
	}
	if diff := cmp.Diff([][]string{{"0", "1"}, {"2", "3"}, {"4"}, {"5"}}, got); diff != "" {
		t.Error(diff)
	}
}

// TestWhereEnumerationsStart looks at the method that is called and the cursor that it gets.
func TestWhereEnumerationsStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, asIs)
	for _, tt := range []struct{ columns, want string }{
		{"mode = 'incremental'", "SyncIncremental from nothing"},
		{"mode = 'incremental', cursor_from = '5'", "SyncIncremental from 5"},
		{"mode = 'full', cursor_from = '5'", "Sync from nothing"},
	} {
		got := make(chan string, 1)
		run := w.open(t, func(_ context.Context, session contracts.SyncSession, method string) error {
			from := "nothing"
			if cursor, ok := session.Cursor(); ok {
				from = string(cursor)
			}
			got <- method + " from " + from
			return nil
		})
		w.set(t, run, tt.columns)
		w.wantTotal(t, w.enumerate(t, run), 0, 0, 0)
		if got := <-got; got != tt.want {
			t.Errorf("a run with %s: %s, want %s", tt.columns, got, tt.want)
		}
	}
}

// TestDueEventsThatCountNoMore are acknowledged without a call of the provider.
func TestDueEventsThatCountNoMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, asIs)
	for _, columns := range []string{"wake = 8", "state = 'working', attempt = 100", "state = 'waiting'", "state = 'cancelled', closed_at = now()"} {
		run := w.open(t, dispatches("a"))
		w.set(t, run, columns)
		before := w.run(t, run.ID)
		w.due(t, run, 7)
		w.awaitAck(t, run)
		if diff := cmp.Diff(before, w.run(t, run.ID)); diff != "" || w.called(run) > 0 {
			t.Errorf("a run with %s: the provider was called %d times; %s", columns, w.called(run), diff)
		}
	}
}

// TestAnEnumerationWithATotalIsOver though its syncer died before the run said so.
func TestAnEnumerationWithATotalIsOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, asIs)
	run := w.open(t, dispatches("a"))
	w.set(t, run, "state = 'enumerating', attempt = 100, attempts = 1, tries = 1")
	if err := w.Checkpoints.WriteTotal(t.Context(), run.ID.String(), 100, &eventsv1.Total{Items: 9, Batches: 2, Duplicates: 3}); err != nil {
		t.Fatal(err)
	}
	run = w.enumerate(t, run)
	w.wantTotal(t, run, 9, 2, 3)
	if run.Attempt != 100 || w.called(run) > 0 {
		t.Errorf("the run is at attempt %d, and the provider was called %d times", run.Attempt, w.called(run))
	}
}

// TestAnEnumerationThatIsAlive is not begun anew because its due event comes again: a broker that is slow to hear of the
// work on it would make a try of each delivery.
func TestAnEnumerationThatIsAlive(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *platform.Config) { c.Timing.AckWait = 2 * time.Second })
	run := w.open(t, dispatches("a"))
	w.set(t, run, "state = 'enumerating', attempt = 100, attempts = 1, tries = 1, heartbeat_at = now()")
	before := w.run(t, run.ID)
	run = w.enumerate(t, run)
	w.wantTotal(t, run, 1, 1, 0)
	if quiet := run.HeartbeatAt.Sub(before.HeartbeatAt); quiet < time.Second || run.Attempts != 2 {
		t.Errorf("the next attempt, of %d, began %s after the last sign of life", run.Attempts, quiet)
	}
}

// TestTheNextAttempt clears what the one before has left, of which workers take nothing any more.
func TestTheNextAttempt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, asIs)
	run := w.open(t, dispatches("new"))
	w.set(t, run, "state = 'enumerating', attempt = 100, attempts = 1, tries = 1, heartbeat_at = now() - interval '10 seconds'")
	subject := wire.ItemsSubject(wire.ItemAddress{
		Lane: wire.Bulk, Provider: "feed", Integration: run.IntegrationID.String(), Run: run.ID.String(), Attempt: 100,
	})
	m, err := wire.NewWork(subject, "old", &eventsv1.ItemBatch{RunId: run.ID.String(), Attempt: 100, Batch: 4})
	if err == nil {
		err = w.Bus.Publish(t.Context(), m)
	}
	old := checkpoint.Key{Run: run.ID.String(), Attempt: 100, Batch: 4, Index: checkpoint.First}
	if err == nil {
		_, err = w.Checkpoints.Merge(t.Context(), old, &eventsv1.Entry{Size: 1})
	}
	if err != nil {
		t.Fatal(err)
	}
	w.exec(t, `insert into dead_items (id, integration_id, provider, run_id, attempt, batch, item_index, event_type, external_id, payload, reason, error, tries, hop, created_at, updated_at)
		values ($1, $2, 'feed', $1, 100, 0, 0, 'feed.Entry', 'x', '{}', 'permanent', 'no', 1, 0, now(), now())`, run.ID, run.IntegrationID)
	run = w.enumerate(t, run)
	w.wantTotal(t, run, 1, 1, 0)
	if run.Attempt <= 100 || run.Attempts != 2 || run.Tries != 2 {
		t.Errorf("the run is at attempt %d, the %d. of them, after %d tries", run.Attempt, run.Attempts, run.Tries)
	}
	if got := w.batches(t, run); len(got) != 1 || got[0].Attempt != run.Attempt {
		t.Errorf("batches: %+v", got)
	}
	if left, err := w.Checkpoints.Read(t.Context(), old); err != nil || left.GetSize() != 0 {
		t.Errorf("the attempt before has left %v, %v", left, err)
	}
	if row, err := w.Store.DeadGet(t.Context(), run.ID); err != nil || row.Status != "superseded" {
		t.Errorf("the dead item of the attempt before is %v, %v", row, err)
	}
}
