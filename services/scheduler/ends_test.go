package scheduler_test

import (
	"testing"
	"time"

	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// TestARunThatLacksItemsFails has a syncer notice that a run lacks items of its upstream. Nothing is dead, but the
// cursor stays, and no older run is superseded.
func TestARunThatLacksItemsFails(t *testing.T) {
	t.Parallel()
	s := newStage(t, asIs)
	integration := s.integration(t, "ledger", "7")
	older := s.begin(t, integration, "incremental")
	s.finish(t, older, came{state: dead, checkpoint: "10"}, came{state: done, checkpoint: "9"})
	s.wantClosed(t, older.ID, "partial: 2 items, 1 done, 1 dead, 0 skipped")
	run := s.begin(t, integration, "incremental")
	const why = "an item was refused, and the provider went on"
	_, err := s.Store.RunLost(t.Context(), dbsqlc.RunLostParams{ID: run.ID, Attempt: run.Attempt, Lost: why})
	if err != nil {
		t.Fatal(err)
	}
	s.finish(t, run, came{state: done, checkpoint: "30"})
	s.wantClosed(t, run.ID, "failed: 1 items, 1 done, 0 dead, 0 skipped")
	s.wantCursor(t, integration, "7")
	if run = s.run(t, run.ID); run.Error != why || run.Complete {
		t.Errorf("the run is closed with %q, complete: %v", run.Error, run.Complete)
	}
	if older = s.run(t, older.ID); older.ResolvedAt != nil {
		t.Errorf("the run before it is %s", older.Resolution)
	}
}

// TestARunThatCanNotBeReducedWaits has a checkpoint that the reducer refuses. The run keeps its checkpoints until
// somebody asks for another try.
func TestARunThatCanNotBeReducedWaits(t *testing.T) {
	t.Parallel()
	s := newStage(t, asIs)
	integration := s.integration(t, "ledger", "7")
	run := s.begin(t, integration, "incremental")
	s.finish(t, run, came{state: done, checkpoint: `"no number"`}, came{state: done, checkpoint: "30"})
	s.wantClosed(t, run.ID, "failed: 2 items, 2 done, 0 dead, 0 skipped")
	s.wantCursor(t, integration, "7")
	if run = s.run(t, run.ID); !run.ReduceFailed || run.ResolvedAt != nil {
		t.Fatalf("the run's reducer failed: %v; it was resolved at %v", run.ReduceFailed, run.ResolvedAt)
	}
	s.exec(t, "update run_checkpoints set checkpoint = '20' where run_id = $1 and item_index = 0", run.ID)
	if result := s.command(t, events.VerbRetry, integration, &eventsv1.Command{All: true}); result != "retrying 0 items, reducing 1 runs again" {
		t.Errorf("the retry is %q", result)
	}
	await(t, "the run to be resolved", func() bool { return s.run(t, run.ID).ResolvedAt != nil })
	s.wantCursor(t, integration, "30")
}

// TestSyncBehindARunWhoseIntegrationIsPaused is asked for while a run is open, and comes after the pause.
func TestSyncBehindARunWhoseIntegrationIsPaused(t *testing.T) {
	t.Parallel()
	s := newStage(t, asIs)
	integration := s.integration(t, "ledger", "")
	run := s.begin(t, integration, "incremental")
	s.command(t, events.VerbSync, integration, &eventsv1.Command{})
	s.exec(t, "update integrations set status = 'paused' where id = $1", integration)
	s.finish(t, run, came{state: done, checkpoint: "30"})
	s.awaitClosed(t, run.ID)
	if open, err := s.Store.RunGetOpen(t.Context(), integration); err == nil {
		t.Errorf("run %s was opened though the integration is paused", open.ID)
	}
	row, err := s.Store.IntegrationGet(t.Context(), integration)
	if err != nil || row.NextSyncAt == nil || row.NextSyncAt.After(time.Now().Add(time.Second)) {
		t.Errorf("the next sync is at %v, %v; want one as soon as the integration is resumed", row.NextSyncAt, err)
	}
}
