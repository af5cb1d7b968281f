package scheduler_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/services/scheduler"
)

// marked is two schedulers that compare the stores when the test says so.
type marked struct {
	t     *testing.T
	pool  *pgxpool.Pool
	store *postgres.Store
	kv    nats.KeyValue
	now   time.Time
	log   *bytes.Buffer
	// metrics are those of both.
	metrics *prometheus.Registry
	both    []func(context.Context) error
}

var errCrash = errors.New("the process died")

func newMarked(t *testing.T, crash func(string)) *marked {
	t.Helper()
	m := &marked{t: t, pool: pgtest.DB(t), now: time.Now().UTC().Truncate(time.Microsecond), log: &bytes.Buffer{}, metrics: prometheus.NewRegistry()}
	m.store = postgres.New(m.pool, nil)
	conn := natstest.New(t).Connect()
	b, err := bus.New(conn, bus.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	js, err := conn.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	if m.kv, err = js.KeyValue(wire.BucketMark); err != nil {
		t.Fatal(err)
	}
	metrics, err := scheduler.NewMetrics(m.metrics)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s := scheduler.New(scheduler.Config{
			Bus: b, Store: m.store, Metrics: metrics, Log: slog.New(slog.NewTextHandler(m.log, nil)),
			Now: func() time.Time { return m.now }, Crash: crash, Settings: scheduler.DefaultSettings(),
		})
		compare, err := scheduler.NewMark(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		m.both = append(m.both, compare)
	}
	return m
}

// pass lets seconds pass, in each of which both schedulers compare.
func (m *marked) pass(seconds int) {
	m.t.Helper()
	for range seconds {
		m.now = m.now.Add(time.Second)
		for _, compare := range m.both {
			if err := compare(m.t.Context()); err != nil {
				m.t.Error(err)
			}
		}
	}
}

// exec changes the row of the mark.
func (m *marked) exec(sql string, args ...any) {
	m.t.Helper()
	if _, err := m.pool.Exec(m.t.Context(), sql, args...); err != nil {
		m.t.Fatal(err)
	}
}

// wantTold compares what was logged by its store and time.
func (m *marked) wantTold(want ...string) {
	m.t.Helper()
	got := []string{}
	for line := range strings.Lines(m.log.String()) {
		if _, said, found := strings.Cut(strings.TrimSpace(line), "store="); found && strings.Contains(line, "level=ERROR") {
			said, _, _ = strings.Cut(said, " incident=")
			got = append(got, said)
		}
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		m.t.Errorf("told (-want +got):\n%s\n%s", diff, m.log)
	}
}

// wantMetrics compares how often each store went back, and by how much it last did.
func (m *marked) wantMetrics(times, seconds string) {
	m.t.Helper()
	want := `# HELP tributary_scheduler_store_went_back_total Times that a store was found to have gone back to an earlier state.
# TYPE tributary_scheduler_store_went_back_total counter
` + times + `# HELP tributary_scheduler_store_went_back_seconds By how much a store went back when it last did.
# TYPE tributary_scheduler_store_went_back_seconds gauge
` + seconds
	names := []string{"tributary_scheduler_store_went_back_total", "tributary_scheduler_store_went_back_seconds"}
	if err := testutil.GatherAndCompare(m.metrics, strings.NewReader(want), names...); err != nil {
		m.t.Error(err)
	}
}

// wantIncidents compares the incidents of the whole installation, the oldest first, and how many events opened them.
func (m *marked) wantIncidents(want ...string) {
	m.t.Helper()
	rows, err := m.store.IncidentList(m.t.Context(), dbsqlc.IncidentListParams{OpenOnly: true, Most: 100})
	if err != nil {
		m.t.Fatal(err)
	}
	got := []string{}
	for _, row := range slices.Backward(rows) {
		if row.IntegrationID != nil {
			m.t.Errorf("it is of integration %s", row.IntegrationID)
		}
		reason, _, _ := strings.Cut(row.Reason.String(), " or more")
		got = append(got, row.Source+" "+row.PeakSeverity+": "+reason)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		m.t.Errorf("incidents (-want +got):\n%s", diff)
	}
	var events int
	err = m.pool.QueryRow(m.t.Context(), "select count(*) from outbox where subject = 'tributary.events.incident-opened._._'").Scan(&events)
	if err != nil || events != len(want) {
		m.t.Errorf("%d events, %v, want %d", events, err, len(want))
	}
}

// TestMark has each store go back by some seconds: it is told once, with how far, and the mark goes on.
func TestMark(t *testing.T) {
	t.Parallel()
	m := newMarked(t, nil)
	m.pass(3)
	m.exec("create table earlier as select * from mark")
	before, err := m.kv.Get("mark")
	if err != nil {
		t.Fatal(err)
	}
	m.pass(5)
	m.wantTold()
	m.exec("delete from mark")
	m.exec("insert into mark select * from earlier")
	m.pass(2)
	m.wantTold("postgres by=5s")
	m.pass(4)
	if _, err := m.kv.Put("mark", before.Value()); err != nil {
		t.Fatal(err)
	}
	m.pass(3)
	m.wantTold("postgres by=5s", "nats by=11s")
	m.wantMetrics(`tributary_scheduler_store_went_back_total{store="nats"} 1
tributary_scheduler_store_went_back_total{store="postgres"} 1
`, `tributary_scheduler_store_went_back_seconds{store="nats"} 11
tributary_scheduler_store_went_back_seconds{store="postgres"} 5
`)
	m.wantIncidents("database failing: Postgres went back to an earlier state, by 5s", "nats failing: NATS went back to an earlier state, by 11s")
}

// TestMarkOfAnotherHistory is one move ahead of its mirror, and does not follow on it: Postgres went back and moved on.
func TestMarkOfAnotherHistory(t *testing.T) {
	t.Parallel()
	m := newMarked(t, nil)
	m.pass(3)
	m.exec("update mark set n = n + 1, prev = $1, nonce = $2", uuid.New(), uuid.New())
	m.pass(1)
	if said := m.log.String(); !strings.Contains(said, "Postgres went back") || strings.Contains(said, "NATS went back") {
		t.Errorf("told:\n%s", said)
	}
}

// TestMarkIsGone has Postgres lose its whole mark: as long as the mark has moved, it went back at least, and the mark begins anew.
func TestMarkIsGone(t *testing.T) {
	t.Parallel()
	m := newMarked(t, nil)
	m.pass(8)
	m.exec("delete from mark")
	m.pass(3)
	m.wantTold("postgres by=7s")
	m.wantIncidents("database failing: Postgres went back to an earlier state, by 7s")
	var n int
	if err := m.pool.QueryRow(t.Context(), "select n from mark").Scan(&n); err != nil || n > 3 {
		t.Errorf("the mark is at %d, %v", n, err)
	}
}

// TestIncidentIsOpenedWhenPostgresTakesIt has Postgres refuse the incident of its way back for some seconds.
func TestIncidentIsOpenedWhenPostgresTakesIt(t *testing.T) {
	t.Parallel()
	m := newMarked(t, nil)
	m.pass(3)
	m.exec("update mark set nonce = $1, at = at - interval '2 seconds'", uuid.New())
	m.exec("alter table incidents add constraint none check (false)")
	m.now = m.now.Add(time.Second)
	if err := m.both[0](t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := m.both[1](t.Context()); err == nil {
			t.Error("the incident was opened")
		}
	}
	m.exec("alter table incidents drop constraint none")
	m.pass(3)
	m.wantTold("postgres by=2s")
	m.wantIncidents("database failing: Postgres went back to an earlier state, by 2s")
}

// TestMarkGoesBackWithAnotherHistory puts back a mark whose number is the mirror's, and that was made in another history.
func TestMarkGoesBackWithAnotherHistory(t *testing.T) {
	t.Parallel()
	m := newMarked(t, nil)
	m.pass(3)
	m.exec("update mark set nonce = $1, at = at - interval '2 seconds'", uuid.New())
	m.pass(2)
	m.wantTold("postgres by=2s")
}

// newDying is two schedulers of which the first dies at the last of some comparisons.
func newDying(t *testing.T) (m *marked, dying func(comparisons int)) {
	t.Helper()
	dies := false
	m = newMarked(t, func(string) {
		if dies {
			panic(errCrash)
		}
	})
	return m, func(comparisons int) {
		t.Helper()
		done := 0
		dies = true
		defer func() {
			dies = false
			if recover() != errCrash || done != comparisons-1 { //nolint:errorlint // it is that value
				t.Errorf("the scheduler did not die after %d comparisons", done)
			}
		}()
		for ; done < comparisons; done++ {
			m.now = m.now.Add(time.Second)
			if err := m.both[0](t.Context()); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestMarkOfADeadScheduler has one die between the two stores: the mirror follows, and nothing is told.
func TestMarkOfADeadScheduler(t *testing.T) {
	t.Parallel()
	m, dying := newDying(t)
	m.pass(3)
	dying(1)
	m.pass(3)
	m.wantTold()
}

// TestIncidentOfADeadScheduler has one die when it has opened the incident: there is one incident and one event.
func TestIncidentOfADeadScheduler(t *testing.T) {
	t.Parallel()
	m, dying := newDying(t)
	m.pass(3)
	m.exec("update mark set nonce = $1, at = at - interval '2 seconds'", uuid.New())
	dying(2)
	m.pass(3)
	m.wantTold("postgres by=2s")
	m.wantIncidents("database failing: Postgres went back to an earlier state, by 2s")
}
