package scheduler_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

const (
	slowSubject    = "tributary.events.run-started.shop.slow"
	relayPublished = "scheduler: outbox message published"
)

// awaitEmptyOutbox waits until all is published.
func (f *fixture) awaitEmptyOutbox(t *testing.T) {
	t.Helper()
	await(t, "an empty outbox", func() bool {
		_, err := f.store.OutboxLag(t.Context())
		return postgres.NotFound(err)
	})
}

// The database ends transactions that are idle for half a second, and NATS takes a second for each message. The relay
// gets on all the same.
func TestRelayBelowAnIdleTimeout(t *testing.T) {
	t.Parallel()
	f := prepare(t)
	_, err := f.pool.Exec(t.Context(), `do $$ begin execute format('alter database %I set idle_in_transaction_session_timeout = ''500ms''', current_database()); end $$`)
	if err != nil {
		t.Fatal(err)
	}
	f.pool.Reset()
	for range 3 {
		f.plant(t, slowSubject, "", []byte("{}"))
	}
	const busy = `select exists(select from pg_stat_activity where datname = current_database() and state = 'idle in transaction' and clock_timestamp() - state_change < interval '1 s')`
	f.startScheduler(t, map[string]contracts.Provider{"shop": shop{}}, func(c *platform.Config) {
		c.Crash = func(point string) {
			for slow := point == relayPublished; slow && t.Context().Err() == nil; {
				if err := f.pool.QueryRow(t.Context(), busy).Scan(&slow); err != nil {
					return
				}
			}
		}
	})
	f.awaitEmptyOutbox(t)
	if n := f.arrived(t, slowSubject); n != 3 {
		t.Errorf("%d messages, want 3", n)
	}
}

// NATS takes longer for each message than a transaction may publish: each is committed alone, and the relay goes on at
// once.
func TestRelayCommitsWhatASlowBrokerTakes(t *testing.T) {
	t.Parallel()
	f := prepare(t)
	for n := range 4 {
		f.plant(t, slowSubject, "", fmt.Append(nil, n))
	}
	var mu sync.Mutex
	var late time.Duration
	var left []int
	f.startScheduler(t, map[string]contracts.Provider{"shop": shop{}}, func(c *platform.Config) {
		c.Now = func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return time.Now().Add(late)
		}
		c.Crash = func(point string) {
			if point != relayPublished {
				return
			}
			var n int
			if err := f.pool.QueryRow(t.Context(), "select count(*) from outbox where subject = $1", slowSubject).Scan(&n); err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			late += 10 * time.Second
			if n > 0 {
				left = append(left, n)
			}
		}
	})
	f.awaitEmptyOutbox(t)
	mu.Lock()
	defer mu.Unlock()
	if diff := cmp.Diff([]int{4, 3, 2, 1}, left); diff != "" {
		t.Errorf("messages in the outbox at each publication (-want +got):\n%s", diff)
	}
}
