package setaside_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/setaside"
	"github.com/tributaryhq/tributary/pkg/events"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// world is a set with a clock that the test moves, and a list whose elements fail as the test says.
type world struct {
	*setaside.Set
	registry *prometheus.Registry
	log      *strings.Builder
	now      time.Time
	away     error
	// elements are listed in this order; those that are done are listed no more.
	elements []string
	bad      map[string]func() error
	tried    []string
}

const kind = setaside.CloseRun

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{registry: prometheus.NewRegistry(), log: &strings.Builder{}, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), bad: map[string]func() error{}}
	metrics, err := setaside.NewMetrics(w.registry)
	if err != nil {
		t.Fatal(err)
	}
	w.Set = &setaside.Set{
		Store: postgres.New(pgtest.DB(t), nil), Log: slog.New(slog.NewTextHandler(w.log, nil)), Metrics: metrics, Now: func() time.Time { return w.now },
		Ready: func(_ context.Context, of setaside.Kind) error {
			if of != kind {
				t.Errorf("it is asked whether %q can be done", of)
			}
			return w.away
		}, Settings: setaside.DefaultSettings(),
	}
	return w
}

// sweep goes over the list once, at most four elements of it.
func (w *world) sweep(t *testing.T) error {
	t.Helper()
	w.tried = nil
	return setaside.Run(t.Context(), w.Set, setaside.Sweep[string]{
		Kind: kind, Most: 4, Name: func(key string) setaside.Element { return setaside.Element{Key: key, About: "about " + key} },
		List: func(_ context.Context, most int32) ([]string, error) {
			return append([]string(nil), w.elements[:min(len(w.elements), int(most))]...), nil
		},
		Step: func(_ context.Context, key string) error {
			w.tried = append(w.tried, key)
			if bad := w.bad[key]; bad != nil {
				return bad()
			}
			w.elements = without(w.elements, key)
			return nil
		},
	})
}

func (w *world) mustSweep(t *testing.T, tried ...string) {
	t.Helper()
	if err := w.sweep(t); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(tried, w.tried); diff != "" {
		t.Errorf("at %s tried (-want +got):\n%s", w.now.Format(time.TimeOnly), diff)
	}
}

func without(all []string, key string) (rest []string) {
	for _, other := range all {
		if other != key {
			rest = append(rest, other)
		}
	}
	return rest
}

// events takes the events of a name from the outbox.
func (w *world) events(t *testing.T, name events.Name) (bodies []map[string]any) {
	t.Helper()
	rows, err := w.Store.OutboxClaim(t.Context(), dbsqlc.OutboxClaimParams{Away: []string{}, Now: w.now, Most: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		got, _, _, err := events.ParseEventSubject(row.Subject)
		if err != nil || got != name {
			continue
		}
		body := map[string]any{}
		if err := json.Unmarshal(row.Body, &body); err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, body)
	}
	return bodies
}

func (w *world) listed(t *testing.T) []*dbsqlc.SetAside {
	t.Helper()
	rows, err := w.Store.SetAsideList(t.Context(), dbsqlc.SetAsideListParams{Most: 100})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func fails() error { return errors.New("it is broken") }

// TestOneBadElement has the oldest elements of a list fail for ever, as many as a page has: the others are done, and the bad ones are tried later and later.
func TestOneBadElement(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for n := range 9 {
		w.elements = append(w.elements, fmt.Sprint("e", n))
	}
	for _, key := range []string{"e0", "e1", "e2"} {
		w.bad[key] = fails
	}
	w.bad["e3"] = func() error { panic("out of its mind") }
	w.mustSweep(t, "e0", "e1", "e2", "e3")
	w.mustSweep(t, "e4", "e5", "e6", "e7")
	w.mustSweep(t, "e8")
	w.mustSweep(t)
	began := w.now
	var tries []time.Duration
	for w.now = w.now.Add(time.Second); w.now.Sub(began) < 4*time.Hour; w.now = w.now.Add(time.Second) {
		if w.now.Sub(began) > 2*time.Minute {
			w.now = w.now.Add(29 * time.Second)
		}
		if err := w.sweep(t); err != nil {
			t.Fatal(err)
		}
		if len(w.tried) > 0 {
			tries = append(tries, w.now.Sub(began))
		}
	}
	want := []time.Duration{2 * time.Second, 12 * time.Second, 72 * time.Second, 382 * time.Second}
	if len(tries) < 6 || cmp.Diff(want[:3], tries[:3]) != "" || tries[3] < 372*time.Second || tries[3] > 403*time.Second || len(tries) > 9 {
		t.Errorf("tried again after %v, want the first of %v and then about once an hour", tries, want)
	}
	rows := w.listed(t)
	if len(rows) != 4 {
		t.Fatalf("%d elements are set aside, want 4", len(rows))
	}
	if told := w.events(t, events.WorkSetAside); len(told) != 4 {
		t.Errorf("%d events say that work is set aside, want one an element", len(told))
	}
	if n := strings.Count(w.log.String(), "work is set aside"); n != 4 {
		t.Errorf("%d log lines say that work is set aside, want one an element:\n%s", n, w.log)
	}
	if !strings.Contains(w.log.String(), "close-run panicked: out of its mind") || !strings.Contains(w.log.String(), "setaside_test.go") {
		t.Errorf("the log does not say where the panic was:\n%s", w.log)
	}
	if err := w.Measure(t.Context()); err != nil {
		t.Fatal(err)
	}
	want4 := `# HELP tributary_set_aside Work that is set aside because it failed several times, by kind. Read from the database by schedulers.
# TYPE tributary_set_aside gauge
tributary_set_aside{kind="close-run"} 4
`
	if err := testutil.GatherAndCompare(w.registry, strings.NewReader(want4), "tributary_set_aside"); err != nil {
		t.Error(err)
	}
	if n, err := testutil.GatherAndCount(w.registry, "tributary_work_failures_total"); err != nil || n != 1 {
		t.Errorf("failures are counted in %d series: %v", n, err)
	}
}

// TestRecovers mends an element that is set aside: its next try is its last, and that is reported.
func TestRecovers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.elements, w.bad["e0"] = []string{"e0"}, fails
	w.failOn(t, 4)
	if len(w.listed(t)) != 1 {
		t.Fatal("four failures don't set an element aside")
	}
	delete(w.bad, "e0")
	w.mustSweep(t)
	w.now = w.now.Add(5 * time.Minute)
	w.mustSweep(t, "e0")
	if rows := w.listed(t); len(rows) != 0 {
		t.Errorf("still listed: %+v", rows[0])
	}
	told := w.events(t, events.WorkSettled)
	if len(told) != 1 || told[0]["outcome"] != "done" || told[0]["key"] != "e0" {
		t.Errorf("events say %v, want that e0 was done", told)
	}
}

// failOn sweeps until an element has failed so often on end.
func (w *world) failOn(t *testing.T, times int) {
	t.Helper()
	for n := range times {
		if n > 0 {
			w.now = w.now.Add(w.Settings.Waits[n-1])
		}
		w.mustSweep(t, w.elements...)
	}
}

// TestAFewFailuresAreNotReported has an element fail less often than sets it aside.
func TestAFewFailuresAreNotReported(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.elements, w.bad["e0"] = []string{"e0"}, fails
	w.failOn(t, 3)
	delete(w.bad, "e0")
	w.now = w.now.Add(time.Minute)
	w.mustSweep(t, "e0")
	if rows, told := w.listed(t), append(w.events(t, events.WorkSetAside), w.events(t, events.WorkSettled)...); len(rows)+len(told) != 0 {
		t.Errorf("%d rows, events %v", len(rows), told)
	}
}

// TestStoreIsAway has steps fail while a store can't be reached: the list ends there, and no element is blamed.
func TestStoreIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.elements, w.bad["e0"], w.away = []string{"e0", "e1"}, fails, errors.New("NATS is away")
	for range 6 {
		if err := w.sweep(t); !errors.Is(err, w.away) {
			t.Errorf("the sweep ends with %v, want that NATS is away", err)
		}
		w.now = w.now.Add(time.Hour)
	}
	if diff := cmp.Diff([]string{"e0"}, w.tried); diff != "" {
		t.Errorf("tried (-want +got):\n%s", diff)
	}
	known, err := w.Load(t.Context(), kind)
	if err != nil || len(known) != 0 {
		t.Errorf("blamed %v, %v", known, err)
	}
}

// TestLeftAsItIs has steps that do nothing: they neither count nor end what failed before.
func TestLeftAsItIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.elements, w.bad["e0"] = []string{"e0"}, fails
	w.failOn(t, 4)
	w.bad["e0"] = func() error { return fmt.Errorf("not mine: %w", setaside.ErrLeft) }
	w.now = w.now.Add(time.Hour)
	w.mustSweep(t, "e0")
	if rows := w.listed(t); len(rows) != 1 || rows[0].Tries != 4 {
		t.Errorf("listed: %+v", rows)
	}
}

// TestTwoProcesses has two fail at the same time: the failure counts once.
func TestTwoProcesses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := setaside.Element{Key: "e0", About: strings.Repeat("long\x00\xff", 1000)}
	fail := func() {
		t.Helper()
		err := w.Store.InTx(t.Context(), func(tx *postgres.Tx) error {
			told, err := w.Fail(t.Context(), tx, kind, e, errors.New(strings.Repeat("no\x00\xff", 1<<20)))
			if err == nil {
				told()
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	fail()
	fail()
	known, err := w.Load(t.Context(), kind)
	if err != nil || known["e0"].Tries != 1 {
		t.Errorf("counted %+v, %v", known["e0"], err)
	}
	if n := testutil.ToFloat64(collector(t, w.registry)); n != 1 {
		t.Errorf("the metric counts %v failures, want 1", n)
	}
}

// collector is the one series of failures.
func collector(t *testing.T, registry *prometheus.Registry) prometheus.Collector {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == "tributary_work_failures_total" {
			c := prometheus.NewCounter(prometheus.CounterOpts{Name: "copies_total", Help: "A copy."})
			c.Add(family.GetMetric()[0].GetCounter().GetValue())
			return c
		}
	}
	t.Fatal("no failures are counted")
	return nil
}

// TestOperator retries and drops what is set aside.
func TestOperator(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.elements, w.bad["e0"], w.bad["e1"] = []string{"e0", "e1"}, fails, fails
	w.failOn(t, 4)
	rows := w.listed(t)
	if len(rows) != 2 {
		t.Fatalf("%d are set aside", len(rows))
	}
	e1, e0 := rows[0], rows[1]
	if _, err := w.Retry(t.Context(), e0.ID); err != nil {
		t.Fatal(err)
	}
	w.mustSweep(t, "e0")
	if dropped, err := w.Drop(t.Context(), e1.ID, "ann", "it is of no use"); err != nil || dropped.DroppedBy != "ann" {
		t.Fatalf("dropped %+v, %v", dropped, err)
	}
	if _, err := w.Drop(t.Context(), e1.ID, "bob", "again"); !errors.Is(err, setaside.ErrDropped) {
		t.Errorf("dropped twice: %v", err)
	}
	w.now = w.now.Add(30 * 24 * time.Hour)
	w.mustSweep(t, "e0")
	told := w.events(t, events.WorkSettled)
	if len(told) != 1 || told[0]["outcome"] != "dropped" || told[0]["by"] != "ann" || told[0]["reason"] != "it is of no use" {
		t.Errorf("events say %v", told)
	}
	if _, err := w.Retry(t.Context(), e1.ID); err != nil {
		t.Fatal(err)
	}
	w.mustSweep(t, "e1")
	if _, err := w.Retry(t.Context(), uuid.New()); !errors.Is(err, setaside.ErrUnknown) {
		t.Errorf("retried what there is not: %v", err)
	}
	if n, err := w.RetryAll(t.Context(), setaside.Message); err != nil || n != 0 {
		t.Errorf("retried %d messages, %v", n, err)
	}
}

// TestForget drops an element that no list has any more, and what was dropped long ago.
func TestForget(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.elements, w.bad["e0"], w.bad["e1"] = []string{"e0", "e1"}, fails, fails
	w.failOn(t, 4)
	rows := w.listed(t)
	if _, err := w.Drop(t.Context(), rows[0].ID, "ann", ""); err != nil {
		t.Fatal(err)
	}
	w.elements = nil
	w.now = w.now.Add(24 * time.Hour)
	if err := w.Forget(t.Context(), w.now.Add(-48*time.Hour)); err != nil {
		t.Fatal(err)
	}
	all, err := w.Store.SetAsideList(t.Context(), dbsqlc.SetAsideListParams{AllOfThem: true, Most: 10})
	if err != nil || len(all) != 1 || all[0].Key != "e1" {
		t.Errorf("kept %v, %v, want e1, which was dropped a day ago", all, err)
	}
	if told := w.events(t, events.WorkSettled); len(told) != 2 || told[1]["outcome"] != "gone" {
		t.Errorf("events say %v, want that e0 is gone", told)
	}
	if err := w.Forget(t.Context(), w.now); err != nil {
		t.Fatal(err)
	}
	if known, err := w.Load(t.Context(), kind); err != nil || len(known) != 0 {
		t.Errorf("kept %v, %v", known, err)
	}
}
