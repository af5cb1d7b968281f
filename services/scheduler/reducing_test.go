package scheduler_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/setaside"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// ended leaves the mark of processes that ended while they called an integration's reducer.
func (s *stage) ended(t *testing.T, integration uuid.UUID, times int, next time.Time) {
	t.Helper()
	s.exec(t, `insert into set_aside (id, kind, key, integration_id, tries, error, failed_first, failed_last, next_try_at)
		values ($1, 'reduce', $2::uuid::text, $2, $3, 'ended', now(), now(), $4)`, postgres.NewID(), integration, times, next)
}

// marks is how many marks there are.
func (s *stage) marks(t *testing.T) (n int) {
	t.Helper()
	if err := s.pool.QueryRow(t.Context(), "select count(*) from set_aside where kind = 'reduce'").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestReducersThatEndTheProcess has marks of processes that ended. After three the runs of their integration close
// without the reducer, and those of others with it; one that an operator tries again goes on.
func TestReducersThatEndTheProcess(t *testing.T) {
	t.Parallel()
	s := newStage(t, asIs)
	twice, thrice := s.integration(t, "ledger", ""), s.integration(t, "ledger", "")
	run := s.begin(t, thrice, "full")
	s.ended(t, twice, 2, time.Now())
	s.ended(t, thrice, 3, time.Now())
	s.finish(t, run, came{state: done, checkpoint: "10"}, came{state: done, checkpoint: "30"})
	s.wantClosed(t, run.ID, "failed: 2 items, 2 done, 0 dead, 0 skipped")
	if run = s.run(t, run.ID); !run.ReduceFailed || run.ResolvedAt != nil {
		t.Errorf("its reducer failed: %v; it was resolved at %v", run.ReduceFailed, run.ResolvedAt)
	}
	s.awaitEvents(t, events.WorkSetAside, thrice, 1)
	next := s.begin(t, thrice, "full")
	s.finish(t, next, came{state: done, checkpoint: "40"})
	s.wantClosed(t, next.ID, "failed: 1 items, 1 done, 0 dead, 0 skipped")
	other := s.begin(t, twice, "full")
	s.finish(t, other, came{state: done, checkpoint: "20"})
	s.wantClosed(t, other.ID, "succeeded: 1 items, 1 done, 0 dead, 0 skipped")
	s.wantCursor(t, twice, "20")
	await(t, "the mark of the other to be taken away", func() bool { return s.marks(t) == 1 })

	if _, err := s.RetrySetAside(t.Context(), api.RetrySetAside{Kind: string(setaside.Reduce), All: true}); err != nil {
		t.Fatal(err)
	}
	s.command(t, events.VerbRetry, thrice, &eventsv1.Command{All: true})
	await(t, "the run to be resolved", func() bool { return s.run(t, next.ID).Resolution == "resolved" })
	s.wantCursor(t, thrice, "40")
	await(t, "no mark to be left", func() bool { return s.marks(t) == 0 })
	s.awaitEvents(t, events.WorkSettled, thrice, 1)
}

// TestAReducerThatMayBeAtWork is marked by another process a moment ago: its run waits, and others close.
func TestAReducerThatMayBeAtWork(t *testing.T) {
	t.Parallel()
	s := newStage(t, asIs)
	marked := s.integration(t, "ledger", "")
	run := s.begin(t, marked, "full")
	s.ended(t, marked, 1, time.Now().Add(time.Hour))
	s.finish(t, run, came{state: done, checkpoint: "10"})
	s.closeAnother(t)
	s.closeAnother(t)
	if run = s.run(t, run.ID); run.ClosedAt != nil {
		t.Error("the run was closed while another process may call its reducer")
	}
	s.exec(t, "update set_aside set next_try_at = now()")
	s.wantClosed(t, run.ID, "succeeded: 1 items, 1 done, 0 dead, 0 skipped")
}

// watchful is a ledger whose reducer tells how many marks there are.
type watchful struct {
	ledger
	marks func() int
	seen  *atomic.Int32
}

func (w watchful) ReduceCheckpoints(checkpoints []contracts.Checkpoint) (contracts.Cursor, error) {
	w.seen.Store(int32(w.marks()))
	return w.ledger.ReduceCheckpoints(checkpoints)
}

func (watchful) ReducesAssociatively() {}

func (w watchful) CheckpointKey(c contracts.Checkpoint) (string, error) {
	return w.ledger.CheckpointKey(c)
}

// TestWhatWasCompleteAtTheStartIsMarked has a run be complete before its scheduler starts: it may be what ended the one
// before. What is complete later is closed without a mark.
func TestWhatWasCompleteAtTheStartIsMarked(t *testing.T) {
	t.Parallel()
	var s *stage
	var seen atomic.Int32
	var before *postgres.Run
	w := watchful{seen: &seen, marks: func() (n int) {
		_ = s.pool.QueryRow(context.Background(), "select count(*) from set_aside where kind = 'reduce'").Scan(&n)
		return n + 1
	}}
	s = newStageOf(t, map[string]contracts.Provider{"ledger": w, "diary": diary{}}, func(early *stage) {
		s = early
		integration := s.integration(t, "ledger", "")
		run := postgres.NewID()
		s.exec(t, `insert into sync_runs (id, integration_id, provider, mode, cause, state, cursor_version, created_at, heartbeat_at, window_from)
			values ($1, $2, 'ledger', 'full', 'command', 'due', 0, now(), now(), now())`, run, integration)
		before = s.attempt(t, integration)
		s.finish(t, before, came{state: done, checkpoint: "10"})
	}, asIs)
	s.wantClosed(t, before.ID, "succeeded: 1 items, 1 done, 0 dead, 0 skipped")
	if n := seen.Load(); n != 2 {
		t.Errorf("the reducer saw %d marks, want one", n-1)
	}
	await(t, "no mark to be left", func() bool { return s.marks(t) == 0 })
	later := s.begin(t, s.integration(t, "ledger", ""), "full")
	s.finish(t, later, came{state: done, checkpoint: "10"})
	s.wantClosed(t, later.ID, "succeeded: 1 items, 1 done, 0 dead, 0 skipped")
	if n := seen.Load(); n != 1 {
		t.Errorf("the reducer of a fresh run saw %d marks, want none", n-1)
	}
}
