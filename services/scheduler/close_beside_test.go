package scheduler_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/setaside"
)

// lockWaits counts the statements that wait for a lock of a transaction in which nothing happens.
func (s *stage) lockWaits(t *testing.T) (n int) {
	t.Helper()
	err := s.pool.QueryRow(t.Context(), `select count(*) from pg_stat_activity w
		where w.datname = current_database() and w.wait_event_type = 'Lock' and exists (
			select from pg_stat_activity h where h.pid = any(pg_blocking_pids(w.pid)) and h.state = 'idle in transaction')`).Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestClosingsThatHangHoldUpTheirProviderAlone has more closings of one provider hang than it has workers: runs of
// others close meanwhile, and its own once they can.
func TestClosingsThatHangHoldUpTheirProviderAlone(t *testing.T) {
	t.Parallel()
	s := newStage(t, func(c *platform.Config) {
		c.Scheduler.Closers, c.Scheduler.LockWait, c.SetAside.Step = 2, time.Hour, time.Hour
	})
	var hanging []uuid.UUID
	for range 2 {
		hanging = append(hanging, s.begin(t, s.integration(t, "diary", ""), "full").ID)
	}
	free := s.lock(t, "select 1 from sync_runs where id = any($1) for no key update", hanging)
	for _, id := range hanging {
		s.finish(t, s.run(t, id), came{state: done, checkpoint: `"x"`})
	}
	await(t, "half of the workers to hang", func() bool { return s.lockWaits(t) == 1 })
	for range 2 {
		run := s.begin(t, s.integration(t, "ledger", ""), "full")
		s.finish(t, run, came{state: done, checkpoint: "30"})
		s.wantClosed(t, run.ID, "succeeded: 1 items, 1 done, 0 dead, 0 skipped")
	}
	await(t, "one closing to hang, and no more", func() bool { return s.lockWaits(t) == 1 })
	free()
	for _, id := range hanging {
		s.wantClosed(t, id, "succeeded: 1 items, 1 done, 0 dead, 0 skipped")
	}
}

// TestLockedIntegrationsPutOffTheirRuns locks more integrations than the scheduler has workers: the run of another one
// closes meanwhile, theirs when they are free.
func TestLockedIntegrationsPutOffTheirRuns(t *testing.T) {
	t.Parallel()
	s := newStage(t, func(c *platform.Config) {
		c.Scheduler.Closers, c.Scheduler.LockWait = 2, 100*time.Millisecond
		c.SetAside.Step, c.SetAside.Waits = time.Hour, []time.Duration{time.Second}
	})
	var locked, runs []uuid.UUID
	for range 3 {
		integration := s.integration(t, "ledger", "")
		locked, runs = append(locked, integration), append(runs, s.begin(t, integration, "full").ID)
	}
	other := s.begin(t, s.integration(t, "ledger", ""), "full")
	free := s.lock(t, "select 1 from integrations where id = any($1) for update", locked)
	for _, id := range runs {
		s.finish(t, s.run(t, id), came{state: done, checkpoint: "10"})
	}
	await(t, "a run to be put off", func() bool {
		return strings.Contains(s.byKind(t)[string(setaside.CloseRun)].Error, "another transaction holds a lock")
	})
	s.finish(t, other, came{state: done, checkpoint: "30"})
	s.wantClosed(t, other.ID, "succeeded: 1 items, 1 done, 0 dead, 0 skipped")
	free()
	for _, id := range runs {
		s.wantClosed(t, id, "succeeded: 1 items, 1 done, 0 dead, 0 skipped")
	}
	await(t, "nothing to be failing", func() bool { return len(s.byKind(t)) == 0 })
}

// TestACloseAndACommandLockInOneOrder has a command hold an integration while its run closes, and take the run then:
// the close has not taken it before.
func TestACloseAndACommandLockInOneOrder(t *testing.T) {
	t.Parallel()
	s := newStage(t, func(c *platform.Config) {
		c.Scheduler.LockWait, c.Control.Commands.LockWait = time.Hour, time.Hour
	})
	run := s.begin(t, s.integration(t, "ledger", ""), "full")
	command, err := s.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = command.Rollback(context.Background()) }()
	if _, err := command.Exec(t.Context(), "select 1 from integrations where id = $1 for no key update",
		run.IntegrationID); err != nil {
		t.Fatal(err)
	}
	s.finish(t, run, came{state: done, checkpoint: "10"})
	await(t, "the close to wait", func() bool { return s.lockWaits(t) == 1 })
	if _, err := command.Exec(t.Context(), "select 1 from sync_runs where id = $1 for update", run.ID); err != nil {
		t.Fatal(err)
	}
	if err := command.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.wantClosed(t, run.ID, "succeeded: 1 items, 1 done, 0 dead, 0 skipped")
}
