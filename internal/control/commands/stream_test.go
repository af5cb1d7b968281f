package commands_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/control/commands"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/registry"
	"github.com/tributaryhq/tributary/internal/runs"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
)

// shop is a provider without a sync.
type shop struct {
	contracts.NoCredentials
	contracts.NoMetadata
}

func (shop) Name() string { return "Shop" }

// idle is a scheduler that has nothing to do.
type idle struct{}

func (idle) Resolve(context.Context, uuid.UUID) error { return nil }
func (idle) Kick()                                    {}

// taker takes commands that the test hands to it.
type taker struct {
	*commands.Stream
	metrics *prometheus.Registry
}

// rejected is how many commands of a verb were rejected.
func (t *taker) rejected(verb string) (n float64) {
	families, err := t.metrics.Gather()
	if err != nil {
		return -1
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == "tributary_scheduler_commands_total" && m.GetLabel()[0].GetValue() == "rejected" &&
				m.GetLabel()[1].GetValue() == verb {
				n += m.GetCounter().GetValue()
			}
		}
	}
	return n
}

// takesCommands takes commands that the test hands to it. There is the integration "one".
func takesCommands(t *testing.T, pool *pgxpool.Pool, bound time.Duration, now func() time.Time) *taker {
	t.Helper()
	registry, err := registry.New(map[string]contracts.Provider{"shop": shop{}})
	if err != nil {
		t.Fatal(err)
	}
	timing := wire.DefaultTiming()
	timing.LagBound = bound
	b, err := bus.New(natstest.New(t).Connect(), bus.Options{Timing: timing})
	if err != nil {
		t.Fatal(err)
	}
	store := postgres.New(pool, nil)
	_, err = store.IntegrationInsert(t.Context(), dbsqlc.IntegrationInsertParams{
		ID: postgres.NewID(), Provider: "shop",
		Name: "one", Metadata: json.RawMessage("{}"), Now: now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	lives, err := runs.NewStore(runs.Config{Postgres: store, Registry: registry, Log: log, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	taker := &taker{metrics: prometheus.NewRegistry()}
	counts, err := commands.NewMetrics(taker.metrics)
	if err != nil {
		t.Fatal(err)
	}
	taker.Stream = commands.NewStream(commands.New(commands.Config{
		Bus: b, Store: store, Registry: registry, Runs: lives, Scheduler: idle{},
		Metrics: counts, Log: log, Now: now, Settings: commands.DefaultSettings(),
	}))
	return taker
}

// TestACommandIsCarriedOutOnce delivers one twice, as after a crash before its acknowledgement; then one that stands in
// its place in a stream that was made anew.
func TestACommandIsCarriedOutOnce(t *testing.T) {
	t.Parallel()
	pool := pgtest.DB(t)
	s := takesCommands(t, pool, 0, time.Now)
	stored := time.Now()
	for _, c := range []struct {
		stored time.Time
		want   int
	}{{stored, 1}, {stored, 1}, {stored.Add(time.Millisecond), 2}} {
		err := s.Take(t.Context(), &bus.Delivery{
			Subject: events.CommandSubject(events.VerbPause, "one"), Count: 1,
			Sequence: 7, Stored: c.stored,
		})
		var accepted int
		if err == nil {
			err = pool.QueryRow(t.Context(), "select count(*) from outbox where subject like '%command-accepted%'").
				Scan(&accepted)
		}
		if err != nil || accepted != c.want {
			t.Errorf("the command was carried out %d times, %v; want %d", accepted, err, c.want)
		}
	}
}

// TestLateLookAtCommands acknowledges a command only when Postgres has carried it out for longer than the bound, and
// carries it out again where that is lost. The same holds for one that was rejected.
func TestLateLookAtCommands(t *testing.T) {
	t.Parallel()
	const bound = time.Minute
	for name, c := range map[string]struct{ subject, effect string }{
		"carried out": {
			events.CommandSubject(events.VerbPause, "one"),
			"select count(*) from integrations where status = 'paused'",
		},
		"rejected": {
			events.CommandSubject(events.VerbPause, "none"),
			"select count(*) from outbox where subject like '%command-rejected%'",
		},
	} {
		t.Run(name, func(t *testing.T) {
			pool, now := pgtest.DB(t), time.Now()
			s := takesCommands(t, pool, bound, func() time.Time { return now })
			want := func(what string, count uint64, wait time.Duration, effects int) {
				t.Helper()
				err := s.Take(t.Context(), &bus.Delivery{Subject: c.subject, Count: count, Sequence: 7})
				handBack, _ := errors.AsType[*bus.HandBack](err)
				if err != nil && handBack == nil || (handBack == nil) != (wait == 0) {
					t.Errorf("%s: %v, want it to wait for %s", what, err, wait)
				}
				if handBack != nil && (handBack.Delay < wait || handBack.Delay > wait+time.Second) {
					t.Errorf("%s: it waits for %s, want %s", what, handBack.Delay, wait)
				}
				var seen int
				if err := pool.QueryRow(t.Context(), c.effect).Scan(&seen); err != nil || seen != effects {
					t.Errorf("%s: its effect is seen %d times, want %d, %v", what, seen, effects, err)
				}
			}
			want("the first time", 1, bound, 1)
			now = now.Add(20 * time.Second)
			want("too early", 2, bound-20*time.Second, 1)
			for _, sql := range []string{
				"delete from commands_done", "delete from outbox",
				"update integrations set status = 'active'",
			} {
				if _, err := pool.Exec(t.Context(), sql); err != nil {
					t.Fatal(err)
				}
			}
			now = now.Add(bound)
			want("when its effect is lost", 3, bound, 1)
			now = now.Add(bound)
			want("after the bound", 4, 0, 1)
		})
	}
}

// TestCommandThatNoStandbyHas keeps a command in NATS while a synchronous standby may lack what it came to.
func TestCommandThatNoStandbyHas(t *testing.T) {
	t.Parallel()
	server := pgtest.Alone(t)
	pool, err := postgres.Connect(t.Context(), server.Config(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	s := takesCommands(t, pool, 0, time.Now)
	server.AwaitStandby(true)
	for sequence, name := range []string{"one", "none"} { // one that is carried out, and one that is rejected
		delivery := &bus.Delivery{
			Subject: events.CommandSubject(events.VerbPause, name), Sequence: uint64(sequence),
			Stored: time.Now(),
		}
		for delivery.Count = 1; delivery.Count <= 2; delivery.Count++ {
			done := server.CancelWait()
			err := s.Take(t.Context(), delivery)
			if _, back := errors.AsType[*bus.HandBack](err); !back {
				t.Errorf("%s, delivery %d: %v, though no standby has what it came to", name, delivery.Count, err)
			}
			done()
		}
		server.AwaitStandby(false)
		if err := s.Take(t.Context(), delivery); err != nil {
			t.Errorf("%s, with all that is needed: %v", name, err)
		}
		server.AwaitStandby(true)
	}
	var answers int
	if err := pool.QueryRow(t.Context(), "select count(*) from outbox where subject like '%command-%'").Scan(
		&answers); err != nil || answers != 2 {
		t.Errorf("%d answers, %v; want 2", answers, err)
	}
}
