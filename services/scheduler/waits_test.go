package scheduler_test

import (
	"testing"
	"time"

	"github.com/tributaryhq/tributary/internal/platform"
)

// TestLongWakingLeavesOthersTheirTurn has more causes end at once than one look takes, and the time for each is too
// short to bring its items forward. Each goes behind the others, so that the last has its turn as well.
func TestLongWakingLeavesOthersTheirTurn(t *testing.T) {
	t.Parallel()
	s := newStage(t, func(c *platform.Config) { c.Scheduler.Hasten = time.Nanosecond })
	s.exec(t, `with made as (
		insert into integrations (id, provider, name, created_at, updated_at)
		select gen_random_uuid(), 'ledger', 'i' || n, now(), now() from generate_series(1, 150) n returning id, name)
		insert into waits_ended (integration_id, cause, at) select id, 'budget', now() - interval '1 hour' + substr(name, 2)::integer * interval '1 second' from made`)
	await(t, "the last to have its turn", func() bool {
		var left int
		if err := s.pool.QueryRow(t.Context(), "select count(*) from waits_ended where at < now() - interval '50 minutes'").Scan(&left); err != nil {
			t.Fatal(err)
		}
		return left == 0
	})
}
