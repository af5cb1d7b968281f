package scheduler_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// silence has a run show no sign of life for two hours.
func (s *stage) silence(t *testing.T, run uuid.UUID) {
	t.Helper()
	s.exec(t, "update sync_runs set heartbeat_at = now() - interval '2 hours' where id = $1", run)
}

// TestSilentRunsAreDrivenAgain unless they have messages left. Each time a due event says so, which the broker does not take for a copy.
func TestSilentRunsAreDrivenAgain(t *testing.T) {
	t.Parallel()
	s := newStage(t, asIs)
	busy := s.begin(t, s.integration(t, "ledger", ""), "full")
	s.takeDue(t, busy.IntegrationID)
	s.plantItems(t, busy)

	lost := s.integration(t, "ledger", "")
	s.command(t, events.VerbSync, lost, &eventsv1.Command{})
	s.takeDue(t, lost)
	run, err := s.Store.RunGetOpen(t.Context(), lost)
	if err != nil {
		t.Fatal(err)
	}
	wake := run.Wake
	s.silence(t, busy.ID)
	for range 2 {
		s.silence(t, run.ID)
		due := s.takeDue(t, lost)
		if due.GetRunId() != run.ID.String() || due.GetWake() <= wake || due.GetWake() != s.run(t, run.ID).Wake {
			t.Errorf("the due event has the wake %d of run %s, after %d", due.GetWake(), due.GetRunId(), wake)
		}
		wake = due.GetWake()
	}
	await(t, "the run with messages to be looked at", func() bool { return time.Since(s.run(t, busy.ID).HeartbeatAt) < time.Hour })
	if now := s.run(t, busy.ID); now.Wake != busy.Wake || now.State != busy.State {
		t.Errorf("the run with messages is %s, and has the wake %d after %d", now.State, now.Wake, busy.Wake)
	}
}

// TestARunThatShowsLifeIsLeftAlone has a syncer show life between the look for silent runs and the moment at which one
// would be driven again.
func TestARunThatShowsLifeIsLeftAlone(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	s := newStage(t, func(c *platform.Config) {
		c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		c.Scheduler.Silent, c.Scheduler.LockWait, c.Control.Commands.LockWait = 10*time.Minute, time.Hour, time.Hour
	})
	alive := s.begin(t, s.integration(t, "ledger", ""), "full")
	s.takeDue(t, alive.IntegrationID)
	beat, err := s.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = beat.Rollback(context.Background()) }()
	if _, err := beat.Exec(t.Context(), "update sync_runs set heartbeat_at = now() + interval '1 hour' where id = $1", alive.ID); err != nil {
		t.Fatal(err)
	}
	ahead.Store(int64(time.Hour))
	await(t, "the sweep to wait for the run", func() bool { return s.lockWaits(t) == 1 })
	if err := beat.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	silent := s.begin(t, s.integration(t, "ledger", ""), "full")
	s.takeDue(t, silent.IntegrationID)
	await(t, "a silent run to be driven again", func() bool {
		// A sweep that found the due event touches the run once more.
		s.silence(t, silent.ID)
		return s.run(t, silent.ID).Wake > silent.Wake
	})
	if now := s.run(t, alive.ID); now.Wake != alive.Wake {
		t.Errorf("the run that shows life was driven again: wake %d after %d", now.Wake, alive.Wake)
	}
}

// TestWhatIsDue opens runs for integrations that are active, and wakes runs of such.
func TestWhatIsDue(t *testing.T) {
	t.Parallel()
	s := newStage(t, asIs)
	paused, pausedWaiting := s.integration(t, "ledger", ""), s.integration(t, "ledger", "")
	active, activeWaiting := s.integration(t, "ledger", ""), s.integration(t, "ledger", "")
	for _, id := range []uuid.UUID{pausedWaiting, activeWaiting} {
		run := s.begin(t, id, "incremental")
		s.takeDue(t, id)
		s.exec(t, "update sync_runs set state = 'waiting' where id = $1", run.ID)
	}
	for _, id := range []uuid.UUID{paused, pausedWaiting} {
		s.exec(t, "update integrations set status = 'paused' where id = $1", id)
	}
	// One statement each, so that all are due at the same moment.
	s.exec(t, "update integrations set next_sync_at = now() - interval '1 second' where id = any($1)", []uuid.UUID{paused, active})
	s.exec(t, "update sync_runs set waiting_until = now() - interval '1 second' where integration_id = any($1)", []uuid.UUID{pausedWaiting, activeWaiting})
	s.takeDue(t, active)
	s.takeDue(t, activeWaiting)
	if run, err := s.Store.RunGetOpen(t.Context(), paused); !postgres.NotFound(err) {
		t.Errorf("a run was opened for a paused integration: %+v, %v", run, err)
	}
	waiting, err := s.Store.RunGetOpen(t.Context(), pausedWaiting)
	if err != nil || waiting.State != "waiting" {
		t.Errorf("the run of a paused integration is %s, %v", waiting.State, err)
	}
	s.awaitEvents(t, events.RunStarted, active, 1)
}

// TestResume wakes the run that waited for it, whose window begins anew.
func TestResume(t *testing.T) {
	t.Parallel()
	s := newStage(t, asIs)
	integration := s.integration(t, "ledger", "")
	run := s.begin(t, integration, "incremental")
	s.takeDue(t, integration)
	s.command(t, events.VerbPause, integration, &eventsv1.Command{})
	s.exec(t, "update sync_runs set state = 'waiting', waiting_until = null, waiting_for = 'pause', window_from = now() - interval '5 hours' where id = $1", run.ID)
	s.command(t, events.VerbResume, integration, &eventsv1.Command{})
	if due := s.takeDue(t, integration); due.GetWake() <= run.Wake {
		t.Errorf("the wake is %d after %d", due.GetWake(), run.Wake)
	}
	if now := s.run(t, run.ID); now.State != "due" || time.Since(now.WindowFrom) > time.Hour {
		t.Errorf("the run is %s, and its window began %s ago", now.State, time.Since(now.WindowFrom))
	}
}

// TestEntriesAreFreedOnceNothingNeedsThem a while after their run has closed, when no message of it is left.
func TestEntriesAreFreedOnceNothingNeedsThem(t *testing.T) {
	t.Parallel()
	s := newStage(t, func(c *platform.Config) { c.Scheduler.EntriesGrace = 30 * time.Minute })
	closed := func(ago string) *postgres.Run {
		run := s.begin(t, s.integration(t, "ledger", ""), "full")
		s.finish(t, run, came{state: done, checkpoint: "1"})
		s.awaitClosed(t, run.ID)
		if ago != "" {
			s.exec(t, "update sync_runs set closed_at = now() - $2::interval where id = $1", run.ID, ago)
		}
		return run
	}
	young := closed("")
	held := s.begin(t, s.integration(t, "ledger", ""), "full")
	s.plantItems(t, held)
	s.finish(t, held, came{state: done, checkpoint: "1"})
	s.awaitClosed(t, held.ID)
	s.exec(t, "update sync_runs set closed_at = now() - interval '2 hours' where id = $1", held.ID)
	// Two, one after the other: a sweep that has freed the second began after all else was as it is.
	for range 2 {
		old := closed("1 hour")
		await(t, "entries to be freed", func() bool { return s.run(t, old.ID).EntriesFreedAt != nil })
		s.wantEntries(t, old, false)
	}
	s.wantEntries(t, held, true)
	s.wantEntries(t, young, true)
	if err := s.Bus.Purge(t.Context(), wire.StreamItems, itemsOf(held)); err != nil {
		t.Fatal(err)
	}
	await(t, "the held entries to be freed", func() bool { return s.run(t, held.ID).EntriesFreedAt != nil })
	s.wantEntries(t, held, false)
}

func (s *stage) wantEntries(t *testing.T, run *postgres.Run, want bool) {
	t.Helper()
	total, err := s.Checkpoints.ReadTotal(t.Context(), run.ID.String(), run.Attempt)
	if err != nil {
		t.Fatal(err)
	}
	entry, err := s.Checkpoints.Read(t.Context(), checkpoint.Key{Run: run.ID.String(), Attempt: run.Attempt, Index: checkpoint.First})
	if err != nil {
		t.Fatal(err)
	}
	if got := total != nil && entry.GetSize() > 0; got != want {
		t.Errorf("run %s: entries are there: %v, want %v", run.ID, got, want)
	}
}

// TestRedrivesThatAreLost are open again after their window.
func TestRedrivesThatAreLost(t *testing.T) {
	t.Parallel()
	s := newStage(t, asIs)
	run := s.begin(t, s.integration(t, "ledger", ""), "full")
	s.finish(t, run, came{state: dead, id: "lost"}, came{state: dead, id: "under way"}, came{state: done})
	s.awaitClosed(t, run.ID)
	ids := s.deadIDs(t, run.ID)
	s.exec(t, `update dead_items set status = 'redriving', updated_at = now() - case id when $1 then interval '8 hours' else interval '6 hours' end
		where id in ($1, $2)`, ids[0], ids[1])
	await(t, "the lost one to be open", func() bool {
		row, err := s.Store.DeadGet(t.Context(), ids[0])
		return err == nil && row.Status == "open"
	})
	s.wantDead(t, ids[1], "redriving")
}

// TestCancel purges what a run has on the way, and leaves the cursor.
func TestCancel(t *testing.T) {
	t.Parallel()
	s := newStage(t, asIs)
	integration := s.integration(t, "ledger", "3")
	run := s.begin(t, integration, "incremental")
	s.plantItems(t, run)
	s.batch(t, run, 0, came{state: done, checkpoint: "30"}, came{state: dead}, came{state: skipped}, came{state: dead}, came{state: retrying})
	dead := s.deadIDs(t, run.ID)
	// One of the dead items is skipped by an operator, which the bucket does not know.
	s.command(t, events.VerbSkip, integration, &eventsv1.Command{Item: dead[1].String(), Reason: "known", By: "ann"})
	await(t, "the progress to be seen", func() bool { return s.progress(t, run) == "4 finished: 1 done, 1 skipped, 2 dead; 1 retrying" })
	s.command(t, events.VerbCancel, integration, &eventsv1.Command{})
	await(t, "the messages to be purged", func() bool { return !s.holdsItems(t, run) })
	const want = "cancelled: 5 items, 1 done, 1 dead, 2 skipped"
	s.wantClosed(t, run.ID, want)
	s.wantDead(t, dead[0], "superseded")
	s.wantDead(t, dead[1], "skipped")
	// What comes late closes nothing.
	s.total(t, run, 5, 1, "")
	s.closeAnother(t)
	s.wantClosed(t, run.ID, want)
	s.wantCursor(t, integration, "3")
}

// TestResetCursorIsRefusedWhileARunIsOpen unless it is to be cancelled.
func TestResetCursorIsRefusedWhileARunIsOpen(t *testing.T) {
	t.Parallel()
	s := newStage(t, asIs)
	integration := s.integration(t, "ledger", "3")
	run := s.begin(t, integration, "incremental")
	to := "1"
	_, err := s.Command(t.Context(), events.VerbResetCursor, &eventsv1.Command{Integration: integration.String(), To: &to, By: "ann", Reason: "again"})
	wantCode(t, err, api.Refused, "is open")
	s.wantCursor(t, integration, "3")
	cancel := &eventsv1.Command{To: &to, Cancel: true, By: "ann", Reason: "again"}
	if result := s.command(t, events.VerbResetCursor, integration, cancel); result != "cancelled and reset" {
		t.Errorf("the reset is %s", result)
	}
	s.wantCursor(t, integration, "1")
	if now := s.run(t, run.ID); now.State != "cancelled" {
		t.Errorf("the run is %s", now.State)
	}
}

// TestRunsWithMessagesHoldUpNoEntries has a page full of closed runs that have messages still: the entries of one that
// was closed after them are freed.
func TestRunsWithMessagesHoldUpNoEntries(t *testing.T) {
	t.Parallel()
	s := newStage(t, func(c *platform.Config) { c.Scheduler.EntriesGrace = time.Minute })
	held := s.begin(t, s.integration(t, "ledger", ""), "full")
	s.finish(t, held)
	s.awaitClosed(t, held.ID)
	var ids []uuid.UUID
	for range 100 {
		copied := *held
		copied.ID = postgres.NewID()
		s.plantItems(t, &copied)
		ids = append(ids, copied.ID)
	}
	s.exec(t, `insert into sync_runs select (jsonb_populate_record(r, jsonb_build_object('id', new.id, 'closed_at', now() - interval '2 hours'))).*
		from sync_runs r, unnest($2::uuid[]) new(id) where r.id = $1`, held.ID, ids)
	s.exec(t, "update sync_runs set closed_at = now() - interval '1 hour' where id = $1", held.ID)
	await(t, "entries to be freed", func() bool { return s.run(t, held.ID).EntriesFreedAt != nil })
	s.wantEntries(t, held, false)
	if kept := s.run(t, ids[0]); kept.EntriesFreedAt != nil {
		t.Error("entries were freed of a run that has messages")
	}
}
