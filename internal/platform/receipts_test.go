package platform_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
	itemworker "github.com/tributaryhq/tributary/services/item-worker"
)

// TestForgottenWorkIsRepeated takes from Postgres, right before a run closes, what a standby that was promoted may
// lack. NATS calls all of it finished.
func TestForgottenWorkIsRepeated(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		forget, state string
		dead          int64
	}{
		"all receipts":      {"delete from receipts", "partial", 1},
		"that of one batch": {"delete from receipts where batch = (select max(batch) from receipts)", "partial", 1},
		"that of one item":  {"update receipts set done = set_bit(done, 2, 0) where batch = 0", "partial", 1},
		"a dead item's row": {"delete from dead_items", "partial", 1},
		"nothing":           {"", "partial", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool, nc := pgtest.DB(t), natstest.New(t).Connect()
			var once sync.Once
			config := platform.Defaults()
			config.NATS, config.Pool = nc, pool
			config.Providers = map[string]contracts.Provider{"numbers": numbers{n: 700}}
			config.Handlers = map[string][]itemworker.ItemHandler{contracts.EventType(number{}): {
				func(_ context.Context, _ *contracts.Integration, payload []byte) error {
					if string(payload) == `{"N":7}` {
						return contracts.Permanent(fmt.Errorf("never"))
					}
					return nil
				},
			}}
			config.Scheduler.Tick, config.Scheduler.Silent = 20*time.Millisecond, time.Hour
			config.Crash = func(point string) {
				if point == "scheduler: before close" && tt.forget != "" {
					once.Do(func() {
						if _, err := pool.Exec(context.Background(), tt.forget); err != nil {
							t.Error(err)
						}
					})
				}
			}
			p, err := platform.New(t.Context(), config)
			if err != nil {
				t.Fatal(err)
			}
			opened, closed := subscribe(t, nc, events.IncidentOpened), subscribe(t, nc, events.IncidentClosed)
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- p.Run(ctx, platform.Services()...) }()
			defer func() {
				stop()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			}()
			now := time.Now()
			id := postgres.NewID()
			_, err = p.Store.IntegrationInsert(ctx, dbsqlc.IntegrationInsertParams{
				ID: id, Provider: "numbers",
				Name: "n", Metadata: []byte("{}"), NextSyncAt: &now, Now: now,
			})
			if err != nil {
				t.Fatal(err)
			}
			run := awaitClosed(t, p, dbsqlc.RunListParams{IntegrationID: &id, Most: 1})
			attempts := int32(2)
			if tt.forget == "" {
				attempts = 1
			}
			if string(run.State) != tt.state || run.Items != 700 || run.Done != 699 || run.Dead != tt.dead ||
				run.Attempts != attempts {
				t.Errorf("the run is %s with %d of %d done, %d dead, after %d attempts: %s", run.State, run.Done,
					run.Items, run.Dead, run.Attempts, run.Error)
			}
			if tt.forget == "" {
				return
			}
			for _, s := range []*nats.Subscription{opened, closed} {
				if _, err := s.NextMsg(time.Minute); err != nil {
					t.Errorf("%s: %v", s.Subject, err)
				}
			}
		})
	}
}

func subscribe(t *testing.T, nc *nats.Conn, name events.Name) *nats.Subscription {
	t.Helper()
	s, err := nc.SubscribeSync(events.Root + ".events." + string(name) + ".>")
	if err != nil {
		t.Fatal(err)
	}
	return s
}
