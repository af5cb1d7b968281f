package health_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/health"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/vitals"
)

func TestTransitions(t *testing.T) {
	t.Parallel()
	type step func(t *testing.T, w *world)
	fails := func(n int) step { return func(t *testing.T, w *world) { t.Helper(); w.fails(t, n) } }
	refuses := func(n int) step { return func(t *testing.T, w *world) { t.Helper(); w.refuses(t, n) } }
	succeeds := func(n int) step { return func(t *testing.T, w *world) { t.Helper(); w.succeeds(t, n) } }
	reports := func(r vitals.Report) step { return func(t *testing.T, w *world) { t.Helper(); w.report(t, r) } }
	later := func(d time.Duration) step { return func(_ *testing.T, w *world) { w.now = w.now.Add(d) } }
	never := func(_ *testing.T, w *world) { w.Settings.DisabledAfter = 0 }
	for _, test := range []struct {
		name  string
		steps []step
		want  string
		says  string
		told  []string
	}{
		{name: "nothing", want: "active healthy"},
		{name: "four failures", steps: []step{fails(4)}, want: "active healthy"},
		{name: "a success between", steps: []step{fails(4), succeeds(1), fails(4)}, want: "active healthy"},
		{
			name: "five", steps: []step{fails(3), fails(2)}, want: "active degraded", says: "5 upstream failures in a row: GET /things: 503",
			told: []string{"integration-health-changed healthy degraded", "incident-opened health degraded"},
		},
		{
			name: "twenty", steps: []step{fails(5), fails(15)}, want: "active failing", says: "20 upstream failures",
			told: []string{"integration-health-changed healthy degraded", "incident-opened health degraded", "integration-health-changed degraded failing"},
		},
		{
			name: "twenty at once", steps: []step{fails(20)}, want: "active failing",
			told: []string{"integration-health-changed healthy failing", "incident-opened health failing"},
		},
		{name: "fifty within a moment", steps: []step{fails(64)}, want: "active failing", told: []string{"integration-health-changed healthy failing", "incident-opened health failing"}},
		{
			name: "fifty and no end", steps: []step{fails(20), later(9 * time.Minute), fails(40), later(time.Minute), fails(1)}, want: "disabled disabled", says: "61 upstream failures",
			told: []string{
				"integration-health-changed healthy failing", "incident-opened health failing",
				"integration-disabled", "integration-health-changed failing disabled",
			},
		},
		{
			name: "never disabled", steps: []step{never, fails(20), later(time.Hour), fails(100)}, want: "active failing",
			told: []string{"integration-health-changed healthy failing", "incident-opened health failing"},
		},
		{
			name: "failures that began anew are not old", steps: []step{fails(20), later(time.Hour), succeeds(1), fails(50)}, want: "active failing",
			told: []string{"integration-health-changed healthy failing", "incident-opened health failing"},
		},
		{
			name: "disabled stays", steps: []step{fails(20), later(time.Hour), fails(50), succeeds(10), fails(1), succeeds(10)}, want: "disabled disabled",
			told: []string{
				"integration-health-changed healthy failing", "incident-opened health failing",
				"integration-disabled", "integration-health-changed failing disabled",
			},
		},
		{
			name: "two successes are not enough", steps: []step{fails(5), succeeds(2)}, want: "active degraded",
			told: []string{"integration-health-changed healthy degraded", "incident-opened health degraded"},
		},
		{
			name: "three are", steps: []step{fails(5), succeeds(2), succeeds(1)}, want: "active healthy",
			told: []string{
				"integration-health-changed healthy degraded", "incident-opened health degraded",
				"integration-health-changed degraded healthy", "incident-closed health",
			},
		},
		{
			name: "flapping does not recover", steps: []step{fails(5), succeeds(2), fails(1), succeeds(2), fails(1), succeeds(2)}, want: "active degraded",
			told: []string{"integration-health-changed healthy degraded", "incident-opened health degraded"},
		},
		{
			name:  "flapping within one report",
			steps: []step{fails(5), succeeds(2), reports(vitals.Report{Answered: true, Failed: true, Successes: 2, Error: "x"})}, want: "active degraded",
			told: []string{"integration-health-changed healthy degraded", "incident-opened health degraded"},
		},
		{
			name: "bad credentials degrade, and never more", steps: []step{refuses(4), later(24 * time.Hour), refuses(100)}, want: "active degraded", says: "the upstream refuses the credentials: GET /things: 401",
			told: []string{"integration-health-changed healthy degraded", "incident-opened health degraded"},
		},
		{
			name: "credentials are mended", steps: []step{refuses(5), succeeds(3)}, want: "active healthy",
			told: []string{
				"integration-health-changed healthy degraded", "incident-opened health degraded",
				"integration-health-changed degraded healthy", "incident-closed health",
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			for _, step := range test.steps {
				step(t, w)
			}
			row := w.row(t)
			if got := row.Status + " " + row.Health; got != test.want {
				t.Errorf("it is %q, want %q", got, test.want)
			}
			if !strings.Contains(row.HealthReason.String(), test.says) || row.Health == health.Healthy && row.HealthReason != "" {
				t.Errorf("the reason is %q, want %q", row.HealthReason, test.says)
			}
			if test.told == nil {
				test.told = []string{}
			}
			if diff := cmp.Diff(test.told, w.told(t)); diff != "" {
				t.Errorf("told (-want +got):\n%s", diff)
			}
		})
	}
}

// A paused integration is nobody's to disable.
func TestPausedIsNotDisabled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := w.Store.IntegrationSetStatus(t.Context(), dbsqlc.IntegrationSetStatusParams{ID: w.id, Status: "paused", Now: start}); err != nil {
		t.Fatal(err)
	}
	w.fails(t, 20)
	w.now = w.now.Add(time.Hour)
	w.fails(t, 100)
	if row := w.row(t); row.Status != "paused" || row.Health != health.Failing {
		t.Errorf("it is %s and %s", row.Status, row.Health)
	}
}

// What is well is neither locked nor written, however often it succeeds.
func TestSuccessesCostNoWrite(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	version := func() (xmin string) {
		if err := w.pool.QueryRow(t.Context(), "select xmin::text from integrations where id = $1", w.id).Scan(&xmin); err != nil {
			t.Fatal(err)
		}
		return xmin
	}
	before := version()
	for range 5 {
		w.succeeds(t, 1000)
	}
	if after := version(); after != before {
		t.Error("the row was written")
	}
	w.fails(t, 1)
	if version() == before {
		t.Error("the row of a failure was not written, so that this test shows nothing")
	}
}

// However many processes report at once, each transition happens once and is told once.
func TestReportsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Settings.DisabledFor = 0
	other := w.insert(t, "other")
	at := func(n int, r vitals.Report) {
		t.Helper()
		var all sync.WaitGroup
		for i := range n {
			all.Go(func() {
				batch := []vitals.Report{r, r}
				batch[i%2].Integration, batch[(i+1)%2].Integration = w.id.String(), other.String()
				for {
					_, err := w.ReportHealth(t.Context(), batch)
					if err == nil {
						return
					}
					if !postgres.Unavailable(err) {
						t.Error(err)
						return
					}
				}
			})
		}
		all.Wait()
	}
	at(60, vitals.Report{Failed: true, Failures: 1, Error: "503"})
	row := w.row(t)
	// Once it is disabled nothing counts any more.
	if row.Health != health.Disabled || row.ConsecutiveFailures != 50 {
		t.Errorf("it is %s with %d failures", row.Health, row.ConsecutiveFailures)
	}
	if err := w.TryAgain(t.Context(), w.id, "it is back"); err != nil {
		t.Fatal(err)
	}
	at(20, vitals.Report{Answered: true, Successes: 1})
	want := []string{
		"integration-health-changed healthy degraded", "incident-opened health degraded", "integration-health-changed degraded failing",
		"integration-disabled", "integration-health-changed failing disabled",
		"integration-enabled", "integration-health-changed disabled failing",
		"integration-health-changed failing healthy", "incident-closed health",
	}
	if diff := cmp.Diff(want, w.told(t)); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

func TestUnknownIntegrationsArePassedOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	gone := vitals.Report{Integration: postgres.NewID().String(), Failed: true, Failures: 9}
	_, err := w.ReportHealth(t.Context(), []vitals.Report{gone, {Integration: "nonsense"}, {Integration: w.id.String(), Failed: true, Failures: 9}})
	if err != nil {
		t.Fatal(err)
	}
	if row := w.row(t); row.Health != health.Degraded {
		t.Errorf("it is %s", row.Health)
	}
	_, err = w.CountRequests(t.Context(), []vitals.Count{{Integration: postgres.NewID().String(), Minute: start, Succeeded: 1}, {Integration: w.id.String(), Minute: start, Succeeded: 2}})
	if err != nil {
		t.Fatal(err)
	}
}

func TestEnable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fails(t, 20)
	w.now = w.now.Add(time.Hour)
	w.fails(t, 50)
	err := w.Store.InTx(t.Context(), func(tx *postgres.Tx) error {
		in, err := tx.IntegrationLock(t.Context(), w.id)
		if err != nil {
			return err
		}
		return w.Enable(t.Context(), tx, in, "mended", "ada", w.now)
	})
	if err != nil {
		t.Fatal(err)
	}
	row := w.row(t)
	if row.Status != "active" || row.Health != health.Healthy || row.ConsecutiveFailures != 0 || row.HealthReason != "" || !row.NextSyncAt.Equal(w.now) {
		t.Errorf("it is %+v", row)
	}
	want := []string{
		"integration-health-changed healthy failing", "incident-opened health failing", "integration-disabled", "integration-health-changed failing disabled",
		"integration-enabled", "integration-health-changed disabled healthy", "incident-closed health",
	}
	if diff := cmp.Diff(want, w.told(t)); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

// An integration that is let try again is disabled by its first failure, and is healthy after some successes.
func TestTryAgain(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		then func(t *testing.T, w *world)
		want string
	}{
		"a failure":       {func(t *testing.T, w *world) { t.Helper(); w.fails(t, 1) }, "disabled disabled"},
		"a success":       {func(t *testing.T, w *world) { t.Helper(); w.succeeds(t, 1) }, "active failing"},
		"three successes": {func(t *testing.T, w *world) { t.Helper(); w.succeeds(t, 3) }, "active healthy"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if err := w.TryAgain(t.Context(), w.id, "not disabled at all"); err != nil {
				t.Fatal(err)
			}
			w.fails(t, 20)
			w.now = w.now.Add(time.Hour)
			w.fails(t, 500)
			for range 2 {
				if err := w.TryAgain(t.Context(), w.id, "a probe passed"); err != nil {
					t.Fatal(err)
				}
			}
			if row := w.row(t); row.Status != "active" || row.Health != health.Failing || row.HealthReason != "a probe passed" || row.ConsecutiveFailures != 49 {
				t.Errorf("it is %+v", row)
			}
			w.now = w.now.Add(time.Minute)
			test.then(t, w)
			row := w.row(t)
			if got := row.Status + " " + row.Health; got != test.want {
				t.Errorf("it is %q, want %q", got, test.want)
			}
		})
	}
}

func TestFailureRates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	count := func(minutesAgo int, c vitals.Count) {
		t.Helper()
		c.Integration, c.Minute = w.id.String(), w.now.Add(-time.Duration(minutesAgo)*time.Minute)
		if _, err := w.CountRequests(t.Context(), []vitals.Count{c, c}[:1]); err != nil {
			t.Fatal(err)
		}
	}
	judge := func(want ...string) {
		t.Helper()
		for range 2 { // told once
			if err := w.checker(t, nil).JudgeRates(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if want == nil {
			want = []string{}
		}
		if diff := cmp.Diff(want, w.told(t)); diff != "" {
			t.Errorf("at %s told (-want +got):\n%s", w.now.Sub(start), diff)
		}
	}
	count(20, vitals.Count{Client: 100}) // before the window
	count(1, vitals.Count{Client: 19})
	judge()
	count(1, vitals.Count{Succeeded: 58})
	judge() // 19 of 77
	count(0, vitals.Count{Throttle: 1})
	judge("failure-rate-elevated") // 20 of 78
	count(0, vitals.Count{Succeeded: 10})
	judge("failure-rate-elevated") // 20 of 88: below one limit, not below the other
	count(0, vitals.Count{Succeeded: 13})
	judge("failure-rate-elevated", "failure-rate-recovered") // 20 of 101
	count(0, vitals.Count{Upstream: 50})
	judge("failure-rate-elevated", "failure-rate-recovered", "failure-rate-elevated")
	w.now = w.now.Add(16 * time.Minute)
	judge("failure-rate-elevated", "failure-rate-recovered", "failure-rate-elevated", "failure-rate-recovered")
}

func TestCounters(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := vitals.Count{
		Integration: w.id.String(), Minute: start, Succeeded: 1, Upstream: 2, Throttle: 3, Client: 4, Unknown: 5, Cached: 6, Took: 7 * time.Millisecond,
	}
	var all sync.WaitGroup
	for i := range 10 {
		all.Go(func() {
			mine := c
			mine.Minute = start.Add(time.Duration(i) * time.Minute)
			if _, err := w.CountRequests(t.Context(), []vitals.Count{c, mine}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	rows, err := w.Store.RequestCountSum(t.Context(), start.Add(-time.Hour), []uuid.UUID{w.id})
	if err != nil || len(rows) != 1 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	want := &dbsqlc.RequestCountSumRow{IntegrationID: w.id, Succeeded: 20, Upstream: 40, Throttle: 60, Client: 80, Unknown: 100, Cached: 120, DurationMs: 140}
	if diff := cmp.Diff(want, rows[0]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	left := func() string {
		var minutes, hours int
		if err := w.pool.QueryRow(t.Context(), "select count(*) filter (where grain = 'minute'), count(*) filter (where grain = 'hour') from request_counts").Scan(&minutes, &hours); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(minutes, hours)
	}
	if got := left(); got != "10 1" {
		t.Errorf("minutes and hours: %s", got)
	}
	_, err = w.Store.RequestCountPrune(t.Context(), dbsqlc.RequestCountPruneParams{MinutesBefore: start.Add(4 * time.Minute), HoursBefore: start, Most: 100})
	if err != nil {
		t.Fatal(err)
	}
	if got := left(); got != "6 1" {
		t.Errorf("minutes and hours: %s", got)
	}
}
