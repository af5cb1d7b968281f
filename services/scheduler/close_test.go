package scheduler_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// TestHowRunsClose closes a run for each thing that its items can come to, and looks at its end and at the cursor.
func TestHowRunsClose(t *testing.T) {
	t.Parallel()
	s := newStage(t, asIs)
	for name, tt := range map[string]struct {
		items       []came
		enumeration string
		from, want  string
		cursor      string
		event       events.Name
	}{
		"all done": {
			items: []came{{state: done, checkpoint: "10"}, {state: done, checkpoint: "30"}, {state: done, checkpoint: "20"}},
			want:  "succeeded: 3 items, 3 done, 0 dead, 0 skipped", cursor: "30", event: events.RunCompleted,
		},
		"nothing": {from: "7", want: "succeeded: 0 items, 0 done, 0 dead, 0 skipped", cursor: "7", event: events.RunCompleted},
		"some dead": {
			items: []came{{state: done, checkpoint: "10"}, {state: dead, checkpoint: "5"}, {state: dead, checkpoint: "6"}},
			want:  "partial: 3 items, 1 done, 2 dead, 0 skipped", event: events.RunPartial,
		},
		"all dead": {
			items: []came{{state: dead, checkpoint: "10"}, {state: dead, checkpoint: "5"}},
			want:  "failed: 2 items, 0 done, 2 dead, 0 skipped", event: events.RunFailed,
		},
		"some skipped": {
			items: []came{{state: done, checkpoint: "10"}, {state: skipped, checkpoint: "40"}},
			want:  "succeeded: 2 items, 1 done, 0 dead, 1 skipped", cursor: "40", event: events.RunCompleted,
		},
		"all skipped": {
			items: []came{{state: skipped, checkpoint: "40"}},
			want:  "succeeded: 1 items, 0 done, 0 dead, 1 skipped", cursor: "40", event: events.RunCompleted,
		},
		"dead beside skipped": {
			items: []came{{state: skipped, checkpoint: "40"}, {state: dead}},
			want:  "partial: 2 items, 0 done, 1 dead, 1 skipped", event: events.RunPartial,
		},
		"the enumeration failed": {
			items: []came{{state: done, checkpoint: "10"}}, enumeration: "the upstream is gone",
			want: "failed: 1 items, 1 done, 0 dead, 0 skipped", event: events.RunFailed,
		},
		"nothing newer": {
			items: []came{{state: done, checkpoint: "10"}}, from: "50",
			want: "succeeded: 1 items, 1 done, 0 dead, 0 skipped", cursor: "50", event: events.RunCompleted,
		},
		"done after all": {
			items: []came{{state: done, checkpoint: "10", late: true}},
			want:  "succeeded: 1 items, 1 done, 0 dead, 0 skipped", cursor: "10", event: events.RunCompleted,
		},
	} {
		integration := s.integration(t, "ledger", tt.from)
		run := s.begin(t, integration, "full")
		if len(tt.items) > 0 {
			s.batch(t, run, 0, tt.items...)
		}
		s.total(t, run, int64(len(tt.items)), int32(min(len(tt.items), 1)), tt.enumeration)
		t.Run(name, func(t *testing.T) {
			s.wantClosed(t, run.ID, tt.want)
			s.wantCursor(t, integration, tt.cursor)
			if t.Failed() {
				return // Its event would be another, and never come.
			}
			s.awaitEvents(t, tt.event, integration, 1)
			if name == "done after all" {
				s.wantDead(t, s.deadIDs(t, run.ID)[0], "resolved")
			}
		})
	}
}

// TestCheckpointsAreReducedInTheOrderOfEnumeration writes what batches came to in another order.
func TestCheckpointsAreReducedInTheOrderOfEnumeration(t *testing.T) {
	t.Parallel()
	s := newStage(t, asIs)
	integration := s.integration(t, "diary", "")
	run := s.begin(t, integration, "full")
	for _, number := range []int32{1, 2, 0} {
		s.batch(t, run, number, came{state: done, checkpoint: `"first"`}, came{state: done, checkpoint: `"` + string('a'+rune(number)) + `"`})
	}
	s.total(t, run, 6, 3, "")
	s.wantClosed(t, run.ID, "succeeded: 6 items, 6 done, 0 dead, 0 skipped")
	s.wantCursor(t, integration, `"c"`)
}

// TestACursorThatHasMovedStays has the cursor be set while a run is open that started from another.
func TestACursorThatHasMovedStays(t *testing.T) {
	t.Parallel()
	s := newStage(t, asIs)
	integration := s.integration(t, "ledger", "1")
	run := s.begin(t, integration, "incremental")
	s.exec(t, "update integrations set sync_cursor = '5', cursor_version = cursor_version + 1 where id = $1", integration)
	s.finish(t, run, came{state: done, checkpoint: "30"})
	s.wantClosed(t, run.ID, "succeeded: 1 items, 1 done, 0 dead, 0 skipped")
	s.wantCursor(t, integration, "5")
}

// once does something when a scheduler is about to close a run for the first time.
type once struct {
	sync.Once
	do func()
}

func (o *once) crash(c *platform.Config) {
	c.Crash = func(point string) {
		if point == "scheduler: before close" {
			o.Do(o.do)
		}
	}
}

// TestWhatChangesWhileARunIsJudged changes something between the verdict on a run and its closing transaction.
func TestWhatChangesWhileARunIsJudged(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		items  []came
		change func(ctx context.Context, s *stage, run *postgres.Run) error
		check  func(t *testing.T, s *stage, run *postgres.Run)
	}{
		"a newer attempt":         {items: []came{{state: done, checkpoint: "30"}}, change: startNext, check: wantNewest},
		"a newer one, of nothing": {change: startNext, check: wantNewest},
		"cancelled":               {items: []came{{state: done, checkpoint: "30"}}, change: cancel, check: wantCancelled("1 items, 1 done, 0 dead, 0 skipped")},
		"cancelled, with nothing": {change: cancel, check: wantCancelled("0 items, 0 done, 0 dead, 0 skipped")},
		"a dead item is skipped": {
			items: []came{{state: done, checkpoint: "30"}, {state: dead, checkpoint: "50"}},
			change: func(ctx context.Context, s *stage, run *postgres.Run) error {
				_, err := s.pool.Exec(ctx, "update dead_items set status = 'skipped' where run_id = $1", run.ID)
				return err
			},
			check: func(t *testing.T, s *stage, run *postgres.Run) {
				t.Helper()
				s.wantClosed(t, run.ID, "succeeded: 2 items, 1 done, 0 dead, 1 skipped")
				s.wantCursor(t, run.IntegrationID, "50")
			},
		},
		"a dead item is retried to success": {
			items: []came{{state: done, checkpoint: "30"}, {state: dead, checkpoint: "50"}},
			change: func(ctx context.Context, s *stage, run *postgres.Run) error {
				_, err := s.pool.Exec(ctx, "update dead_items set status = 'resolved' where run_id = $1", run.ID)
				return err
			},
			check: func(t *testing.T, s *stage, run *postgres.Run) {
				t.Helper()
				s.wantClosed(t, run.ID, "succeeded: 2 items, 2 done, 0 dead, 0 skipped")
				s.wantCursor(t, run.IntegrationID, "50")
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			meanwhile := &once{}
			s := newStage(t, meanwhile.crash)
			run := s.begin(t, s.integration(t, "ledger", ""), "full")
			changed := make(chan error, 1)
			meanwhile.do = func() { changed <- tt.change(t.Context(), s, run) }
			s.finish(t, run, tt.items...)
			if err := <-changed; err != nil {
				t.Fatal(err)
			}
			tt.check(t, s, run)
		})
	}
}

// startNext begins the next attempt of a run.
func startNext(ctx context.Context, s *stage, run *postgres.Run) error {
	_, err := s.Store.RunStartAttempt(ctx, dbsqlc.RunStartAttemptParams{ID: run.ID, Attempt: run.Attempt, Now: time.Now()})
	return err
}

// wantNewest has a run be open still, which its newest attempt alone closes.
func wantNewest(t *testing.T, s *stage, run *postgres.Run) {
	t.Helper()
	s.closeAnother(t)
	open := s.run(t, run.ID)
	if open.ClosedAt != nil {
		t.Fatalf("the run is closed as %s by the attempt before its newest", open.State)
	}
	s.finish(t, open, came{state: done, checkpoint: "40"}, came{state: done})
	s.wantClosed(t, run.ID, "succeeded: 2 items, 2 done, 0 dead, 0 skipped")
	s.wantCursor(t, run.IntegrationID, "40")
}

func cancel(ctx context.Context, s *stage, run *postgres.Run) error {
	_, err := s.Command(ctx, events.VerbCancel, &eventsv1.Command{Integration: run.IntegrationID.String()})
	return err
}

// wantCancelled has a run be as its cancellation left it, though its newest attempt is complete.
func wantCancelled(counts string) func(*testing.T, *stage, *postgres.Run) {
	return func(t *testing.T, s *stage, run *postgres.Run) {
		t.Helper()
		s.closeAnother(t)
		s.wantClosed(t, run.ID, "cancelled: "+counts)
		s.wantCursor(t, run.IntegrationID, "")
		if n := s.arrived(t, events.EventSubject(events.RunCompleted, "ledger", run.IntegrationID.String())); n > 0 {
			t.Error("an event calls the cancelled run completed")
		}
	}
}

// closeAnother opens and closes a run of another integration, after which everything that was to be closed before it has been.
func (s *stage) closeAnother(t *testing.T) {
	t.Helper()
	run := s.begin(t, s.integration(t, "ledger", ""), "full")
	s.finish(t, run)
	s.awaitClosed(t, run.ID)
}

// TestWhatPostgresLacksIsNotBelieved has the bucket call items finished of which Postgres knows nothing: their run begins its next attempt.
func TestWhatPostgresLacksIsNotBelieved(t *testing.T) {
	t.Parallel()
	s := newStage(t, asIs)
	for name, items := range map[string][]came{
		"done":            {{state: done, checkpoint: "1", unbacked: true}},
		"skipped":         {{state: skipped, checkpoint: "1", unbacked: true}},
		"one among many":  {{state: done, checkpoint: "1"}, {state: done, checkpoint: "2", unbacked: true}, {state: done, checkpoint: "3"}},
		"dead":            {{state: dead, unbacked: true}},
		"dead among done": {{state: done, checkpoint: "1"}, {state: dead, unbacked: true}},
	} {
		t.Run(name, func(t *testing.T) {
			integration := s.integration(t, "ledger", "")
			run := s.begin(t, integration, "full")
			s.finish(t, run, items...)
			var now *postgres.Run
			await(t, "the run to be repeated", func() bool { now = s.run(t, run.ID); return now.ClosedAt != nil || now.Wake > run.Wake })
			if now.ClosedAt != nil || now.State != "due" {
				t.Fatalf("the run is %s, want it to be due again", now.State)
			}
			s.awaitEvents(t, events.IncidentOpened, integration, 1)
			s.finish(t, s.attempt(t, integration), came{state: done, checkpoint: "9"})
			s.wantClosed(t, run.ID, "succeeded: 1 items, 1 done, 0 dead, 0 skipped")
			s.wantCursor(t, integration, "9")
		})
	}
}

// TestFailuresSlowTheSchedule fails scheduled and commanded syncs: only the former put the next one off, twice as long each, up to a limit.
func TestFailuresSlowTheSchedule(t *testing.T) {
	t.Parallel()
	s := newStage(t, func(c *platform.Config) { c.Scheduler.MaxBackoff = 5 })
	integration := s.integration(t, "ledger", "")
	for n, intervals := range []time.Duration{1, 2, 4, 5, 5} {
		run := s.scheduled(t, integration)
		s.wantNext(t, integration, run.CreatedAt, interval)
		s.total(t, run, 0, 0, "the upstream is gone")
		closed := s.awaitClosed(t, run.ID)
		s.wantNext(t, integration, *closed.ClosedAt, intervals*interval)
		if t.Failed() {
			t.Fatalf("after %d failures", n+1)
		}
	}
	later := time.Now().Add(3 * time.Hour).Truncate(time.Second)
	s.exec(t, "update integrations set next_sync_at = $2 where id = $1", integration, later)
	run := s.begin(t, integration, "incremental")
	s.total(t, run, 0, 0, "the upstream is gone")
	s.awaitClosed(t, run.ID)
	s.wantNext(t, integration, later, 0)
	if row, err := s.Store.IntegrationGet(t.Context(), integration); err != nil || row.ConsecutiveSyncFailures != 5 {
		t.Errorf("after a commanded sync that failed there are %d failures on end, %v; want 5", row.ConsecutiveSyncFailures, err)
	}
	run = s.scheduled(t, integration)
	s.finish(t, run)
	s.wantNext(t, integration, *s.awaitClosed(t, run.ID).ClosedAt, interval)
}

// TestLongIntervalsStayInTheFuture fails syncs whose interval, multiplied, is longer than any duration can be.
func TestLongIntervalsStayInTheFuture(t *testing.T) {
	t.Parallel()
	s := newStage(t, asIs)
	integration := s.integration(t, "ledger", "")
	s.exec(t, "update integrations set sync_interval = interval '2000000 hours' where id = $1", integration)
	for range 3 {
		run := s.scheduled(t, integration)
		s.total(t, run, 0, 0, "the upstream is gone")
		s.awaitClosed(t, run.ID)
	}
	row, err := s.Store.IntegrationGet(t.Context(), integration)
	if err != nil || row.NextSyncAt == nil || time.Until(*row.NextSyncAt) < 2_000_000*time.Hour {
		t.Errorf("the next sync is at %v, %v; want it in more than 2000000 hours", row.NextSyncAt, err)
	}
}

// wantNext compares when an integration is due next.
func (s *stage) wantNext(t *testing.T, integration uuid.UUID, since time.Time, wait time.Duration) {
	t.Helper()
	row, err := s.Store.IntegrationGet(t.Context(), integration)
	if err != nil || row.NextSyncAt == nil {
		t.Fatal(row, err)
	}
	if got := row.NextSyncAt.Sub(since); got != wait {
		t.Errorf("the next sync is in %s, want %s", got, wait)
	}
}
