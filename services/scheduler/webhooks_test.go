package scheduler_test

import (
	"testing"
	"time"

	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
)

// Who got webhooks and gets none any more is told of once, and again when that is over; who never got any, or has got one lately, is not.
func TestSilenceOfWebhooks(t *testing.T) {
	t.Parallel()
	server := natstest.New(t)
	f := &fixture{nc: server.Connect(), pool: pgtest.DB(t)}
	f.store = postgres.New(f.pool, testRing(t))
	told, err := f.nc.SubscribeSync(events.EventSubject("*", "shop", "*"))
	if err != nil {
		t.Fatal(err)
	}
	f.told = told
	if _, err := f.pool.Exec(t.Context(), `insert into integrations (id, provider, name, created_at, updated_at)
		select gen_random_uuid(), 'shop', name, now(), now() from unnest(array['silent', 'heard', 'never']) name`); err != nil {
		t.Fatal(err)
	}
	if _, err := f.pool.Exec(t.Context(), `insert into webhook_sources (integration_id, last_received_at)
		select id, case name when 'silent' then now() - interval '25 hours' else now() - interval '23 hours' end from integrations where name <> 'never'`); err != nil {
		t.Fatal(err)
	}
	config := platform.Defaults()
	config.NATS, config.Pool, config.Ring, config.Providers = server.Connect(), f.pool, testRing(t), map[string]contracts.Provider{"shop": shop{}}
	config.Control.Housekeeping.Sweep = 20 * time.Millisecond
	built, err := platform.New(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	run(t, built, platform.SchedulerService)
	f.wantSilent(t, "silent")
	// What was said is not said again, but a new episode is: it is the next that is told of.
	if _, err := f.pool.Exec(t.Context(), `update webhook_sources set last_received_at = now() - interval '30 hours' where silent_since is null`); err != nil {
		t.Fatal(err)
	}
	f.wantSilent(t, "heard")
}

// wantSilent waits for the next event of silence, which must be about an integration.
func (f *fixture) wantSilent(t *testing.T, name string) {
	t.Helper()
	event := f.event(t, events.WebhooksSilent)
	if about, _ := event["integration"].(map[string]any); about["name"] != name || event["last_received_at"] == nil {
		t.Errorf("told of %v, want %s", event, name)
	}
}
