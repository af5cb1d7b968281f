package scheduler_test

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
	"github.com/tributaryhq/tributary/services/scheduler"
)

// TestLateLookAtCommands acknowledges a command only when Postgres has carried it out for longer than the bound, and carries it out again where that is lost. The same
// holds for one that was rejected.
func TestLateLookAtCommands(t *testing.T) {
	t.Parallel()
	const bound = time.Minute
	registry, err := contracts.NewRegistry(map[string]contracts.Provider{"shop": shop{}})
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := scheduler.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ subject, effect string }{
		"carried out": {events.CommandSubject(events.VerbPause, "one"), "select count(*) from integrations where status = 'paused'"},
		"rejected":    {events.CommandSubject(events.VerbPause, "none"), "select count(*) from outbox where subject like '%command-rejected%'"},
	} {
		t.Run(name, func(t *testing.T) {
			pool, now := pgtest.DB(t), time.Now()
			store := postgres.New(pool, nil)
			timing := events.DefaultTiming()
			timing.LagBound = bound
			b, err := bus.New(natstest.New(t).Connect(), bus.Options{Timing: timing})
			if err != nil {
				t.Fatal(err)
			}
			_, err = store.IntegrationInsert(t.Context(), dbsqlc.IntegrationInsertParams{ID: postgres.NewID(), Provider: "shop", Name: "one", Metadata: []byte("{}"), Now: now})
			if err != nil {
				t.Fatal(err)
			}
			s, err := scheduler.New(scheduler.Config{
				Bus: b, Store: store, Registry: registry, Metrics: metrics, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return now },
				Settings: scheduler.DefaultSettings(),
			})
			if err != nil {
				t.Fatal(err)
			}
			want := func(what string, count uint64, wait time.Duration, effects int) {
				t.Helper()
				err := scheduler.TakeCommand(t.Context(), s, &bus.Delivery{Subject: c.subject, Count: count, Sequence: 7})
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
			for _, sql := range []string{"delete from commands_done", "delete from outbox", "update integrations set status = 'active'"} {
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
