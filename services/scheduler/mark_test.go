package scheduler_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
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
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
	"github.com/tributaryhq/tributary/services/scheduler"
)

// marked is two schedulers that compare the stores when the test says so.
type marked struct {
	t    *testing.T
	pool *pgxpool.Pool
	kv   nats.KeyValue
	now  time.Time
	log  *bytes.Buffer
	// metrics are those of both.
	metrics *prometheus.Registry
	both    []func(context.Context) error
}

var errCrash = errors.New("the process died")

func newMarked(t *testing.T, crash func(string)) *marked {
	t.Helper()
	m := &marked{t: t, pool: pgtest.DB(t), now: time.Now().UTC().Truncate(time.Microsecond), log: &bytes.Buffer{}, metrics: prometheus.NewRegistry()}
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
	if m.kv, err = js.KeyValue(events.BucketMark); err != nil {
		t.Fatal(err)
	}
	registry, err := contracts.NewRegistry(map[string]contracts.Provider{"shop": shop{}})
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := scheduler.NewMetrics(m.metrics)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s, err := scheduler.New(scheduler.Config{
			Bus: b, Store: postgres.New(m.pool, nil), Registry: registry, Metrics: metrics, Log: slog.New(slog.NewTextHandler(m.log, nil)),
			Now: func() time.Time { return m.now }, Crash: crash, Settings: scheduler.DefaultSettings(),
		})
		if err != nil {
			t.Fatal(err)
		}
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
	m.exec("delete from mark")
	m.pass(3)
	var n int
	if err := m.pool.QueryRow(t.Context(), "select n from mark").Scan(&n); err != nil || n < 2 {
		t.Errorf("the mark is at %d, %v", n, err)
	}
	if told := strings.Count(m.log.String(), "store=postgres"); told != 2 {
		t.Errorf("Postgres went back %d times, want 2", told)
	}
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

// TestMarkOfADeadScheduler has one die between the two stores: the mirror follows, and nothing is told.
func TestMarkOfADeadScheduler(t *testing.T) {
	t.Parallel()
	dies := false
	m := newMarked(t, func(string) {
		if dies {
			panic(errCrash)
		}
	})
	m.pass(3)
	dies = true
	m.now = m.now.Add(time.Second)
	func() {
		defer func() {
			if recover() != errCrash { //nolint:errorlint // it is that value
				t.Error("the scheduler did not die")
			}
		}()
		_ = m.both[0](t.Context())
	}()
	dies = false
	m.pass(3)
	m.wantTold()
}
