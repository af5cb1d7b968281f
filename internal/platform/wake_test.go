package platform_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/deferral"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
	itemworker "github.com/tributaryhq/tributary/services/item-worker"
)

// waitingOnce has its first enumeration, or the first try of its item, wait for two hours.
type waitingOnce struct {
	numbers
	syncs, items *atomic.Pointer[error]
}

func (p waitingOnce) Sync(ctx context.Context, in *contracts.Integration, session contracts.SyncSession) error {
	if why := p.syncs.Swap(nil); why != nil {
		return contracts.RetryAfter(2*time.Hour, *why)
	}
	return p.numbers.Sync(ctx, in, session)
}

func (p waitingOnce) handle(context.Context, *contracts.Integration, []byte) error {
	if why := p.items.Swap(nil); why != nil {
		return contracts.RetryAfter(2*time.Hour, *why)
	}
	return nil
}

// TestWaitsEndEarly has a run and an item wait for something, for hours. When that ends, they go on at once; what waits for anything else does not.
func TestWaitsEndEarly(t *testing.T) {
	t.Parallel()
	pauseAndResume := func(t *testing.T, client *api.Client, name string) {
		t.Helper()
		for _, verb := range []events.Verb{events.VerbPause, events.VerbResume} {
			if _, err := client.Command(t.Context(), verb, &eventsv1.Command{Integration: name}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, tt := range map[string]struct {
		why  error
		ends func(t *testing.T, client *api.Client, name string)
	}{
		"circuit auto": {fmt.Errorf("%w: by hand", contracts.ErrCircuitOpen), func(t *testing.T, client *api.Client, name string) {
			t.Helper()
			if _, err := client.OverrideCircuit(t.Context(), api.OverrideCircuit{Integration: name}); err != nil {
				t.Fatal(err)
			}
		}},
		"rate-limit clear": {contracts.ErrBudgetExhausted, func(t *testing.T, client *api.Client, name string) {
			t.Helper()
			if _, err := client.ClearRateLimit(t.Context(), api.ClearRateLimit{Integration: name}); err != nil {
				t.Fatal(err)
			}
		}},
		"resume": {fmt.Errorf("the upstream asks for it"), pauseAndResume},
	} {
		for _, what := range []string{"run", "item"} {
			t.Run(name+" of a "+what, func(t *testing.T) {
				t.Parallel()
				provider := waitingOnce{numbers: numbers{n: 1}, syncs: &atomic.Pointer[error]{}, items: &atomic.Pointer[error]{}}
				config := platform.Defaults()
				config.Providers = map[string]contracts.Provider{"waiting": provider}
				config.Handlers = map[string][]itemworker.ItemHandler{contracts.EventType(number{}): {provider.handle}}
				config.NATS = natstest.New(t).Connect()
				if what == "run" {
					provider.syncs.Store(&tt.why)
				} else {
					provider.items.Store(&tt.why)
				}
				p, id := inHouse(t, &config)
				awaitWait(t, p, id, what)
				// A cause that it does not wait for changes nothing.
				other := dbsqlc.WaitsEndParams{IntegrationID: id, Cause: string(deferral.Token), Now: time.Now().Add(-time.Hour)}
				if err := p.Store.WaitsEnd(t.Context(), other); err != nil {
					t.Fatal(err)
				}
				eventually(t, "the end of another cause is not looked after", func() bool { return len(endedWaits(t, p)) == 0 })
				if run := newestRun(t, p, id); run.ClosedAt != nil {
					t.Error("it went on though it waits for something else")
				}
				tt.ends(t, api.New(config.NATS, 20*time.Second), "waiting")
				if run := awaitClosed(t, p, dbsqlc.RunListParams{IntegrationID: &id, Most: 1}); run.State != "succeeded" || run.Done != 1 {
					t.Errorf("the run is %s with %d done: %s", run.State, run.Done, run.Error)
				}
			})
		}
	}
}

func newestRun(t *testing.T, p *platform.Platform, id uuid.UUID) *postgres.Run {
	t.Helper()
	runs, err := p.Store.Queries.RunList(t.Context(), dbsqlc.RunListParams{IntegrationID: &id, Most: 1})
	if err != nil {
		t.Fatal(err)
	}
	if len(runs) == 0 {
		return &postgres.Run{}
	}
	return runs[0]
}

func endedWaits(t *testing.T, p *platform.Platform) []*dbsqlc.WaitsEndedDueRow {
	t.Helper()
	rows, err := p.Store.WaitsEndedDue(t.Context(), time.Now(), 10)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// awaitWait returns once the run waits, or its item does.
func awaitWait(t *testing.T, p *platform.Platform, id uuid.UUID, what string) {
	t.Helper()
	eventually(t, "the "+what+" does not wait", func() bool {
		if what == "run" {
			return newestRun(t, p, id).State == "waiting"
		}
		held, err := p.Bus.Holds(t.Context(), events.StreamItems, events.RetryFilter("waiting", id.String()))
		return err == nil && held
	})
}
