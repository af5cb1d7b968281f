package scheduler_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
)

// TestProvidersThatNoSchedulerHas are told of: what is due of them is stale, unless another scheduler shows that it is at
// work on it, or has just become due.
func TestProvidersThatNoSchedulerHas(t *testing.T) {
	t.Parallel()
	f := prepare(t)
	f.exec(t, `insert into integrations (id, provider, name, status, next_sync_at, created_at, updated_at)
		select gen_random_uuid(), 'gone', name, case name when 'paused' then 'paused' else 'active' end,
			now() - case name when 'young' then interval '1 minute' else interval '20 minutes' end, now(), now()
		from unnest(array['paused', 'young', 'at work', 'waiting', 'forgotten', 'silent']) name`)
	f.exec(t, `insert into sync_runs (id, integration_id, provider, mode, cause, state, heartbeat_at, waiting_until, window_from, cursor_version, created_at)
		select gen_random_uuid(), id, provider, 'full', 'schedule', case name when 'waiting' then 'waiting' else 'working' end,
			now() - case name when 'at work' then interval '1 minute' else interval '30 minutes' end,
			case name when 'waiting' then now() + interval '5 minutes' end, now(), 0, now() - interval '1 hour'
		from integrations where name in ('at work', 'waiting', 'silent')`)
	f.startScheduler(t, map[string]contracts.Provider{"shop": empty{}}, func(c *platform.Config) { c.Scheduler.Sweep = 50 * time.Millisecond })
	told := map[string]bool{}
	for range 2 {
		about, _ := f.event(t, events.SyncStale)["integration"].(map[string]any)
		name, _ := about["name"].(string)
		told[name] = true
	}
	if !told["forgotten"] || !told["silent"] {
		t.Errorf("told of are %v", told)
	}
	page, err := f.Incidents(t.Context(), api.ListIncidents{Open: true})
	if err != nil || len(page.Incidents) != 2 {
		t.Fatalf("the incidents are %+v, %v", page, err)
	}
	for _, incident := range page.Incidents {
		if !strings.Contains(incident.Reason, `no scheduler that runs has the provider "gone"`) {
			t.Errorf("the reason is %q", incident.Reason)
		}
	}
	var stale int
	err = f.pool.QueryRow(t.Context(), `select count(*) from integrations where stale_since is not null`).Scan(&stale)
	if err != nil || stale != 2 {
		t.Errorf("%d are stale, %v", stale, err)
	}
}
