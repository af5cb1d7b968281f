package scheduler_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/wire"
)

// TestTheCommonClockGoesBack has the clock of all be 400 days ahead for a moment. What was put off meanwhile is due
// when it would have been by the right clock, and what was put off before stays.
func TestTheCommonClockGoesBack(t *testing.T) {
	t.Parallel()
	const off = 400 * 24 * time.Hour
	var ahead atomic.Int64
	s := newStage(t, func(c *platform.Config) {
		c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		c.Scheduler.Mark, c.Scheduler.Silent, c.Scheduler.ClockHold = 20*time.Millisecond, time.Hour, time.Millisecond
	})
	markedAt := func() (at time.Time) {
		if err := s.pool.QueryRow(t.Context(), "select at from mark").Scan(&at); err != nil {
			t.Fatal(err)
		}
		return at
	}
	run := s.begin(t, s.integration(t, "ledger", ""), "full")
	s.takeDue(t, run.IntegrationID)
	late, soon := s.integration(t, "ledger", ""), s.integration(t, "ledger", "")
	ahead.Store(int64(off))
	await(t, "the mark of that clock", func() bool { return time.Until(markedAt()) > off-time.Hour })
	put := time.Now()
	s.exec(t, "update integrations set next_sync_at = $2, probe_at = $2, stale_since = $3, status = 'paused' where "+
		"id = $1", late, put.Add(off+time.Hour), put.Add(off))
	s.exec(t, "update integrations set next_sync_at = $2, status = 'paused' where id = $1", soon, put.Add(2*time.Hour))
	s.exec(t, "update sync_runs set state = 'waiting', waiting_until = $2, heartbeat_at = $3 where id = $1", run.ID,
		put.Add(off+time.Hour), put.Add(off))
	s.exec(t, `insert into webhooks (id, integration_id, provider, delivery_id, event_type, sequence, method, path, query, headers, body, next_try_at, received_at, stored_at)
		values ($1, $1, 'ledger', 'd', 'opened', 1, 'POST', '/', '', '{}', '', $2, now(), now())`, late, put.Add(off+time.Hour))
	address := wire.ItemAddress{
		Lane: wire.Shared, Provider: "ledger", Integration: run.IntegrationID.String(),
		Run: run.ID.String(), Attempt: 1,
	}
	m := wire.Message{Subject: wire.RetrySubject(address), ID: uuid.NewString(), Body: []byte("a retry")}
	if err := s.Bus.PublishAt(t.Context(), m, wire.ItemsSubject(address), put.Add(off)); err != nil {
		t.Fatal(err)
	}
	ahead.Store(0)
	await(t, "the mark of the right clock", func() bool { return time.Until(markedAt()) < time.Hour })
	dueIn := func(sql string, id uuid.UUID) time.Duration {
		t.Helper()
		var at time.Time
		if err := s.pool.QueryRow(t.Context(), sql, id).Scan(&at); err != nil {
			t.Fatal(err)
		}
		return at.Sub(put)
	}
	for what, test := range map[string]struct {
		sql  string
		id   uuid.UUID
		want time.Duration
	}{
		"a sync":                {"select next_sync_at from integrations where id = $1", late, time.Hour},
		"a probe":               {"select probe_at from integrations where id = $1", late, time.Hour},
		"a sync put off before": {"select next_sync_at from integrations where id = $1", soon, 2 * time.Hour},
		"staleness":             {"select stale_since from integrations where id = $1", late, 0},
		"a waiting run":         {"select waiting_until from sync_runs where id = $1", run.ID, time.Hour},
		"a heartbeat":           {"select heartbeat_at from sync_runs where id = $1", run.ID, 0},
		"a webhook":             {"select next_try_at from webhooks where id = $1", late, time.Hour},
	} {
		if got := dueIn(test.sql, test.id); (got - test.want).Abs() > 10*time.Minute {
			t.Errorf("%s is due in %s, want %s", what, got, test.want)
		}
	}
	await(t, "the retry to be delivered", func() bool {
		held, err := s.Bus.Holds(t.Context(), wire.StreamItems, wire.ItemsSubject(address))
		return err == nil && held
	})
	page, err := s.Incidents(t.Context(), api.ListIncidents{Open: true})
	if err != nil || len(page.Incidents) != 1 || !strings.Contains(page.Incidents[0].Reason, "was ahead by 9600h") {
		t.Errorf("the incidents are %+v, %v", page.Incidents, err)
	}
}
