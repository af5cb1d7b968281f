package scheduler_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributaryhq/tributary/internal/control/commands"
	"github.com/tributaryhq/tributary/internal/runs"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
	"github.com/tributaryhq/tributary/services/scheduler"
)

// TestCancelByASchedulerThatHasHeardOfNothing has a scheduler that has just started cancel a run: it keeps its numbers.
func TestCancelByASchedulerThatHasHeardOfNothing(t *testing.T) {
	t.Parallel()
	s := newStage(t, asIs)
	integration := s.integration(t, "ledger", "3")
	run := s.begin(t, integration, "incremental")
	s.batch(t, run, 0, came{state: done, checkpoint: "30"}, came{state: done, checkpoint: "31"}, came{state: skipped},
		came{state: dead}, came{state: retrying})
	fresh, err := runs.NewStore(runs.Config{
		Postgres: s.Store, Checkpoints: s.Checkpoints, Registry: s.Registry, Log: slog.New(slog.DiscardHandler),
		Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	counts, err := commands.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	executor := commands.New(commands.Config{
		Bus: s.Bus, Store: s.Store, Runs: fresh, Scheduler: scheduler.New(scheduler.Config{Runs: fresh}),
		Metrics: counts,
		Log:     slog.New(slog.DiscardHandler), Now: time.Now,
	})
	if _, _, err := executor.Do(t.Context(), events.VerbCancel, integration.String(), &eventsv1.Command{},
		""); err != nil {
		t.Fatal(err)
	}
	s.wantClosed(t, run.ID, "cancelled: 5 items, 2 done, 1 dead, 1 skipped")
}
