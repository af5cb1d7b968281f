package scheduler_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/registry"
	"github.com/tributaryhq/tributary/internal/runs"
	"github.com/tributaryhq/tributary/internal/setaside"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/services/scheduler"
)

// TestLossIsDrivenOnce has two schedulers notice the same loss in seconds of their own, and then another one.
func TestLossIsDrivenOnce(t *testing.T) {
	t.Parallel()
	f := prepare(t)
	b, err := bus.New(f.server.Connect(), bus.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC().Truncate(time.Second).Add(300 * time.Millisecond)
	registry, err := registry.New(map[string]contracts.Provider{"ledger": ledger{}})
	if err != nil {
		t.Fatal(err)
	}
	var both []*scheduler.Scheduler
	for range 2 {
		metrics, err := scheduler.NewMetrics(prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		aside, err := setaside.NewMetrics(prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		clock := func() time.Time { return now }
		lives,
			err := runs.NewStore(runs.Config{
			Postgres: f.store, Registry: registry, Log: slog.New(slog.DiscardHandler),
			Now: clock,
		})
		if err != nil {
			t.Fatal(err)
		}
		both = append(both, scheduler.New(scheduler.Config{
			Bus: b, Store: f.store, Runs: lives, Metrics: metrics, Log: slog.New(slog.DiscardHandler), Now: clock,
			Settings: scheduler.DefaultSettings(),
			SetAside: &setaside.Set{
				Store: f.store, Log: slog.New(slog.DiscardHandler), Metrics: aside, Now: clock,
				Settings: setaside.DefaultSettings(),
			},
		}))
	}
	id, runID := postgres.NewID(), postgres.NewID()
	if _, err := f.store.IntegrationInsert(t.Context(), dbsqlc.IntegrationInsertParams{
		ID: id, Provider: "ledger", Name: "lost", Metadata: []byte("{}"), Now: now.Add(-time.Hour),
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.pool.Exec(t.Context(), `insert into sync_runs (id, integration_id, provider, mode, cause, state, attempt, window_from, heartbeat_at, cursor_version, created_at)
		values ($1, $2, 'ledger', 'full', 'command', 'working', 1, $3, $3, 0, $3)`, runID, id, now.Add(-time.Minute)); err != nil {
		t.Fatal(err)
	}
	seen := now.Add(-4 * time.Second)
	wakes := map[int32]bool{0: true}
	for _, step := range []struct {
		what     string
		by       int
		at, seen time.Time
		driven   bool
	}{
		{"the first that notices", 0, now, seen, true},
		{"the other, four seconds later", 1, now.Add(4 * time.Second), seen.Add(2 * time.Second), false},
		{"another loss", 1, now.Add(9 * time.Second), now.Add(4 * time.Second), true},
		{
			"it again, in the same second", 0, now.Add(9*time.Second + 100*time.Millisecond), now.Add(5 * time.Second),
			false,
		},
	} {
		now = step.at
		both[step.by].StoreLost(step.at, step.seen)
		if err := both[step.by].DriveLost(t.Context()); err != nil {
			t.Fatal(step.what, err)
		}
		run, err := f.store.RunGet(t.Context(), runID)
		if err != nil {
			t.Fatal(err)
		}
		if driven := !wakes[run.Wake]; driven != step.driven {
			t.Errorf("%s: the run was driven: %t, want %t (wake %d)", step.what, driven, step.driven, run.Wake)
		}
		wakes[run.Wake] = true
	}
}
