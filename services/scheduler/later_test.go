package scheduler_test

import (
	"testing"

	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// TestSyncsThatWaitForAnOpenRun folds all that are commanded meanwhile into one, which starts when the run closes. A full one wins.
func TestSyncsThatWaitForAnOpenRun(t *testing.T) {
	t.Parallel()
	s := newStage(t, asIs)
	for _, tt := range []struct {
		asked []string
		want  string
	}{{[]string{"incremental"}, "incremental"}, {[]string{"full", "incremental"}, "full"}, {[]string{"incremental", "full", "incremental"}, "full"}} {
		integration := s.integration(t, "ledger", "")
		run := s.begin(t, integration, "incremental")
		for _, mode := range tt.asked {
			if result := s.command(t, events.VerbSync, integration, &eventsv1.Command{Mode: mode}); result != "queued-behind" {
				t.Errorf("the %s sync is %s", mode, result)
			}
		}
		s.finish(t, run, came{state: done, checkpoint: "30"})
		s.awaitClosed(t, run.ID)
		next, err := s.Store.RunGetOpen(t.Context(), integration)
		if err != nil {
			t.Fatalf("after the syncs %v: %v", tt.asked, err)
		}
		if string(next.Mode) != tt.want || next.CursorFrom == nil || *next.CursorFrom != "30" {
			t.Errorf("after the syncs %v a run is open with the mode %s from %v", tt.asked, next.Mode, next.CursorFrom)
		}
		s.finish(t, s.attempt(t, integration))
		s.awaitClosed(t, next.ID)
		if again, err := s.Store.RunGetOpen(t.Context(), integration); err == nil {
			t.Errorf("after the syncs %v a second run was opened: %+v", tt.asked, again)
		}
	}
}

// TestLateResolution skips the dead item of a closed run. Its cursor moves to what all its items come to, unless it has moved since, and not while a later run is open.
func TestLateResolution(t *testing.T) {
	t.Parallel()
	s := newStage(t, asIs)
	for name, tt := range map[string]struct {
		provider, moved, cursor string
		open                    bool
	}{
		"":             {provider: "ledger", cursor: "30"},
		"in order":     {provider: "diary", cursor: "20"},
		"moved since":  {provider: "ledger", moved: "25", cursor: "25"},
		"a later run":  {provider: "ledger", open: true, cursor: "30"},
		"both of them": {provider: "ledger", moved: "25", open: true, cursor: "25"},
	} {
		integration := s.integration(t, tt.provider, "")
		run := s.begin(t, integration, "incremental")
		s.finish(t, run, came{state: done, checkpoint: "30"}, came{state: dead, checkpoint: "20"})
		s.wantClosed(t, run.ID, "partial: 2 items, 1 done, 1 dead, 0 skipped")
		if tt.moved != "" {
			s.exec(t, "update integrations set sync_cursor = $2, cursor_version = cursor_version + 1 where id = $1", integration, tt.moved)
		}
		if tt.open {
			s.begin(t, integration, "incremental")
		}
		s.command(t, events.VerbSkip, integration, &eventsv1.Command{Item: s.deadIDs(t, run.ID)[0].String(), By: "ann", Reason: "of no use"})
		if tt.open {
			// Two sweeps at least have looked at it when the run of another integration is resolved.
			other := s.integration(t, "ledger", "")
			first := s.begin(t, other, "incremental")
			s.finish(t, first, came{state: done, checkpoint: "1"}, came{state: dead})
			s.awaitClosed(t, first.ID)
			s.exec(t, "update dead_items set status = 'resolved' where run_id = $1", first.ID)
			await(t, "a sweep", func() bool { return s.run(t, first.ID).Resolution == "resolved" })
			if got := s.run(t, run.ID).Resolution; got != "" {
				t.Errorf("%s: the run is %s while a later one is open", name, got)
			}
			s.command(t, events.VerbCancel, integration, &eventsv1.Command{})
		}
		await(t, "the run to be resolved", func() bool { return s.run(t, run.ID).Resolution == "resolved" })
		s.wantCursor(t, integration, tt.cursor)
		if t.Failed() {
			t.Fatalf("case %q", name)
		}
	}
}

// TestALaterRunStandsForOlderOnes from the same cursor, whose records came again in it.
func TestALaterRunStandsForOlderOnes(t *testing.T) {
	t.Parallel()
	s := newStage(t, asIs)
	integration := s.integration(t, "ledger", "")
	older := s.begin(t, integration, "incremental")
	s.finish(t, older, came{state: done, checkpoint: "30"}, came{state: dead, checkpoint: "20"})
	s.awaitClosed(t, older.ID)
	failed := s.begin(t, integration, "incremental")
	s.total(t, failed, 0, 0, "the upstream is gone")
	s.awaitClosed(t, failed.ID)
	if got := s.run(t, older.ID).Resolution; got != "" {
		t.Errorf("a run that was not whole has %s an older one", got)
	}
	later := s.begin(t, integration, "incremental")
	s.finish(t, later, came{state: done, checkpoint: "40"})
	s.awaitClosed(t, later.ID)
	if got := s.run(t, older.ID).Resolution; got != "superseded" {
		t.Errorf("the older run is %q", got)
	}
	s.wantDead(t, s.deadIDs(t, older.ID)[0], "superseded")
	s.wantCursor(t, integration, "40")
}

// TestARecordThatIsDeadInRunsOnEnd is told of once, when the limit is reached.
func TestARecordThatIsDeadInRunsOnEnd(t *testing.T) {
	t.Parallel()
	s := newStage(t, func(c *platform.Config) { c.Scheduler.StuckAfter = 3 })
	integration := s.integration(t, "ledger", "")
	for n, want := range []int{0, 0, 1, 1} {
		run := s.begin(t, integration, "incremental")
		s.finish(t, run, came{state: done, id: "a"}, came{state: dead, id: "b"})
		s.awaitClosed(t, run.ID)
		// Events are published in the order in which they were written.
		s.awaitEvents(t, events.RunPartial, integration, n+1)
		s.awaitEvents(t, events.ItemStuck, integration, want)
		var alerted int
		if err := s.pool.QueryRow(t.Context(), "select count(*) from item_streaks where integration_id = $1 and alerted", integration).Scan(&alerted); err != nil || alerted != want {
			t.Fatalf("after %d runs %d records are called stuck, %v; want %d", n+1, alerted, err, want)
		}
	}
}
