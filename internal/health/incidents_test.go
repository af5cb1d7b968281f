package health_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/internal/health"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
)

// raise and clear do what a transition of some source does: lock the integration and tell.
func (w *world) raise(t *testing.T, s health.Signal) {
	t.Helper()
	w.locked(t, func(tx *postgres.Tx, in *postgres.Integration) error {
		return health.Raise(t.Context(), tx, in, s, w.now)
	})
}

func (w *world) clear(t *testing.T, source health.Source) {
	t.Helper()
	w.locked(t, func(tx *postgres.Tx, in *postgres.Integration) error {
		return health.Clear(t.Context(), tx, in, source, "well", w.now)
	})
}

func (w *world) locked(t *testing.T, do func(*postgres.Tx, *postgres.Integration) error) {
	t.Helper()
	err := w.Store.InTx(t.Context(), func(tx *postgres.Tx) error {
		in, err := tx.IntegrationLock(t.Context(), w.id)
		if err != nil {
			return err
		}
		return do(tx, in)
	})
	if err != nil {
		t.Error(err)
	}
}

func (w *world) timeline(t *testing.T) []string {
	t.Helper()
	all, err := w.Store.IncidentList(t.Context(), dbsqlc.IncidentListParams{IntegrationID: &w.id, Most: 100})
	if err != nil {
		t.Fatal(err)
	}
	lines := []string{}
	for _, incident := range all {
		state := "open"
		if incident.ClosedAt != nil {
			state = "closed"
		}
		lines = append(lines, state+" "+incident.Source+" "+incident.PeakSeverity+" ["+strings.Join(incident.Raised, " ")+"]")
		signals, err := w.Store.IncidentTimeline(t.Context(), incident.ID, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range signals {
			lines = append(lines, strings.TrimSpace("  "+s.Source+" "+s.Severity))
		}
	}
	return lines
}

// An incident stays open until none of its sources sees trouble.
func TestIncident(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clear(t, health.SourceCircuit)
	w.fails(t, 5)
	w.raise(t, health.Signal{Source: health.SourceCircuit, Severity: health.Failing, Reason: "half of the requests fail"})
	w.raise(t, health.Signal{Source: health.SourceCircuit, Severity: health.Failing, Reason: "the probe failed"})
	w.raise(t, health.Signal{Source: health.SourceSync, Severity: health.Failing, Reason: "no clean sync"})
	w.fails(t, 15)
	w.succeeds(t, 3)
	w.clear(t, health.SourceCircuit)
	w.clear(t, health.SourceCircuit)
	if got := w.timeline(t)[0]; got != "open health failing [sync]" {
		t.Errorf("it is %q", got)
	}
	w.clear(t, health.SourceSync)
	w.fails(t, 5)
	want := []string{
		"open health degraded [health]", "health degraded",
		"closed health failing []",
		"health degraded", "circuit failing", "sync failing", "health failing", "health", "circuit", "sync",
	}
	if diff := cmp.Diff(want, w.timeline(t)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	wantTold := []string{
		"integration-health-changed healthy degraded", "incident-opened health degraded", "integration-health-changed degraded failing",
		"integration-health-changed failing healthy", "incident-closed sync", "integration-health-changed healthy degraded", "incident-opened health degraded",
	}
	wantTold[4] = "incident-closed health" // by its first source
	if diff := cmp.Diff(wantTold, w.told(t)); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

// Sources that raise and clear at once open one incident and close it once.
func TestIncidentsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sources := []health.Source{health.SourceHealth, health.SourceCircuit, health.SourceSync, health.SourceToken}
	var all sync.WaitGroup
	for i := range 32 {
		all.Go(func() { w.raise(t, health.Signal{Source: sources[i%4], Severity: health.Failing}) })
	}
	all.Wait()
	if diff := cmp.Diff(5, len(w.timeline(t))); diff != "" {
		t.Errorf("lines of the timeline (-want +got):\n%s", diff)
	}
	for i := range 32 {
		all.Go(func() { w.clear(t, sources[i%4]) })
	}
	all.Wait()
	told := w.told(t)
	if len(told) != 2 || !strings.HasPrefix(told[0], "incident-opened") || !strings.HasPrefix(told[1], "incident-closed") {
		t.Errorf("told %q", told)
	}
	if lines := w.timeline(t); len(lines) != 9 || !strings.HasPrefix(lines[0], "closed") {
		t.Errorf("the timeline is %q", lines)
	}
}

// An incident whose source was lost is closed when nothing has been heard of it for long, and only when the database knows of no trouble.
func TestForgottenIncidents(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		trouble func(*testing.T, *world)
		after   time.Duration
		want    string
	}{
		"soon":        {nil, 6 * 24 * time.Hour, "open"},
		"late":        {nil, 8 * 24 * time.Hour, "closed"},
		"not healthy": {func(t *testing.T, w *world) { t.Helper(); w.fails(t, 5) }, 8 * 24 * time.Hour, "open"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.raise(t, health.Signal{Source: health.SourceCircuit, Severity: health.Failing})
			if test.trouble != nil {
				test.trouble(t, w)
			}
			w.now = w.now.Add(test.after)
			if err := w.checker(t, nil).Sweep(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := w.timeline(t)[0]; !strings.HasPrefix(got, test.want) {
				t.Errorf("it is %q, want %q", got, test.want)
			}
		})
	}
}

func TestIncidentsArePruned(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fails(t, 5)
	w.succeeds(t, 3)
	w.fails(t, 5)
	w.now = w.now.Add(time.Hour)
	if n, err := w.Store.IncidentPrune(t.Context(), &w.now, 10); n != 1 || err != nil {
		t.Errorf("%d pruned, %v", n, err)
	}
	if diff := cmp.Diff([]string{"open health degraded [health]", "health degraded"}, w.timeline(t)); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}
