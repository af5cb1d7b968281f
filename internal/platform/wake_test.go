package platform_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
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
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
	itemworker "github.com/tributaryhq/tributary/services/item-worker"
)

// waitingOnce has its first enumeration, the first try of its item, or of its webhook, wait for two hours.
type waitingOnce struct {
	numbers
	contracts.WebhookDefaults
	syncs, items, hooks *atomic.Pointer[error]
}

// deferOnce is a deferral of two hours, if there is a reason for one, and takes the reason away.
func deferOnce(reason *atomic.Pointer[error]) error {
	if why := reason.Swap(nil); why != nil {
		return contracts.RetryAfter(2*time.Hour, *why)
	}
	return nil
}

func (p waitingOnce) Sync(ctx context.Context, in *contracts.Integration, session contracts.SyncSession) error {
	if err := deferOnce(p.syncs); err != nil {
		return err
	}
	return p.numbers.Sync(ctx, in, session)
}

func (p waitingOnce) handle(context.Context, *contracts.Integration, []byte) error {
	return deferOnce(p.items)
}

func (p waitingOnce) HandleWebhook(context.Context, *contracts.Integration, *contracts.WebhookRequest) (any, error) {
	return nil, deferOnce(p.hooks)
}

func (waitingOnce) VerifyWebhookSignature(context.Context, *contracts.Integration, *contracts.WebhookRequest) error {
	return nil
}

// BudgetKey has integrations share a budget whose names begin equally.
func (waitingOnce) BudgetKey(in *contracts.Integration) string {
	key, _, _ := strings.Cut(in.Name(), "-")
	return key
}

func (waitingOnce) ResolveWebhookEvent(*contracts.WebhookRequest) (string, bool) { return "", false }

// ending is how a cause of waits ends.
type ending struct {
	why  error
	ends func(t *testing.T, w *waitingWorld)
}

// waitingWorld has an integration called "waiting".
type waitingWorld struct {
	*platform.Platform
	config platform.Config
	client *api.Client
	id     uuid.UUID
	what   string
}

var (
	byCircuitAuto = ending{fmt.Errorf("%w: by hand", contracts.ErrCircuitOpen), func(t *testing.T, w *waitingWorld) {
		t.Helper()
		if _, err := w.client.OverrideCircuit(t.Context(), api.OverrideCircuit{Integration: "waiting"}); err != nil {
			t.Fatal(err)
		}
	}}
	byRateLimitClear = ending{contracts.ErrBudgetExhausted, func(t *testing.T, w *waitingWorld) {
		t.Helper()
		if _, err := w.client.ClearRateLimit(t.Context(), api.ClearRateLimit{Integration: "waiting"}); err != nil {
			t.Fatal(err)
		}
	}}
	// bySharedClear clears the budget of another integration that shares it, and of one that does not.
	bySharedClear = ending{contracts.ErrBudgetExhausted, func(t *testing.T, w *waitingWorld) {
		t.Helper()
		for _, name := range []string{"else", "waiting-too"} {
			if n := endedOf(t, w); n > 0 {
				t.Errorf("%d causes of its waits have ended too early", n)
			}
			clearAnother(t, w.Platform, w.client, name)
		}
	}}
	bySharedLift   = ending{errors.New("the upstream asks for it"), bySharedClear.ends}
	byLift         = ending{errors.New("the upstream asks for it"), byRateLimitClear.ends}
	byRaisedBudget = ending{contracts.ErrBudgetExhausted, func(t *testing.T, w *waitingWorld) {
		t.Helper()
		set := api.SetRateLimit{Integration: "waiting", Limit: 1000, Window: "1m"}
		if _, err := w.client.SetRateLimit(t.Context(), set); err != nil {
			t.Fatal(err)
		}
	}}
	byUpdate = ending{errors.New("the account is closed"), func(t *testing.T, w *waitingWorld) {
		t.Helper()
		update := api.UpdateIntegration{Integration: "waiting", Metadata: json.RawMessage(`{}`)}
		if _, err := w.client.UpdateIntegration(t.Context(), update); err != nil {
			t.Fatal(err)
		}
	}}
	byResume = ending{errors.New("the upstream asks for it"), func(t *testing.T, w *waitingWorld) {
		t.Helper()
		for _, verb := range []events.Verb{events.VerbPause, events.VerbResume} {
			if _, err := w.client.Command(t.Context(), verb, &eventsv1.Command{Integration: "waiting"}); err != nil {
				t.Fatal(err)
			}
		}
	}}
	// byToken is what a token-refresher writes with a new token.
	byToken = ending{contracts.ErrNoToken, func(t *testing.T, w *waitingWorld) {
		t.Helper()
		ended := dbsqlc.WaitsEndParams{IntegrationID: w.id, Cause: string(deferral.Token), Now: time.Now()}
		if err := w.Store.WaitsEnd(t.Context(), ended); err != nil {
			t.Fatal(err)
		}
	}}
	// byWorker starts another worker, with a handler that none has had.
	byWorker = ending{deferral.ErrNoHandler, func(t *testing.T, w *waitingWorld) {
		t.Helper()
		config := w.config
		config.Handlers = map[string][]itemworker.ItemHandler{"new": {waitingOnce{items: new(atomic.Pointer[error])}.handle}}
		config.Metrics = nil
		other, err := platform.New(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- other.Run(ctx, platform.ItemWorkerService) }()
		t.Cleanup(func() {
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}}
	byForgetting = ending{deferral.ErrNoHandler, func(t *testing.T, w *waitingWorld) {
		t.Helper()
		_, err := w.config.Pool.Exec(t.Context(), "insert into handled_types values ('waiting', 'item', 'old', now() - interval '1 day', now() - interval '1 hour')")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.client.ForgetHandler(t.Context(), api.ForgetHandler{Provider: "waiting", EventType: "old", By: "ann"}); err != nil {
			t.Fatal(err)
		}
	}}
)

// TestWaitsEndEarly has a run, an item or a webhook wait for something, for hours. When that ends, it goes on at once.
// The end of another cause changes nothing.
func TestWaitsEndEarly(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		ending
		of []string
	}{
		"circuit auto":                      {byCircuitAuto, []string{"run", "item", "webhook"}},
		"rate-limit clear":                  {byRateLimitClear, []string{"run", "item"}},
		"rate-limit clear, lift":            {byLift, []string{"webhook"}},
		"rate-limit clear of another":       {bySharedClear, []string{"run", "item"}},
		"rate-limit clear of another, lift": {bySharedLift, []string{"webhook"}},
		"rate-limit set":                    {byRaisedBudget, []string{"run", "webhook"}},
		"integrations update":               {byUpdate, []string{"item", "webhook"}},
		"resume":                            {byResume, []string{"run", "item", "webhook"}},
		"a new token":                       {byToken, []string{"run", "webhook"}},
		"a worker starts":                   {byWorker, []string{"item", "webhook"}},
		"handlers forget":                   {byForgetting, []string{"item", "webhook"}},
	} {
		for _, what := range tt.of {
			t.Run(name+" of a "+what, func(t *testing.T) {
				t.Parallel()
				w := newWaiting(t, what, tt.why)
				other := deferral.Token
				if deferral.CauseOf(contracts.RetryAfter(0, tt.why)) == other {
					other = deferral.Circuit
				}
				// An hour ago, so that both passes are made at once.
				ended := dbsqlc.WaitsEndParams{IntegrationID: w.id, Cause: string(other), Now: time.Now().Add(-time.Hour)}
				if err := w.Store.WaitsEnd(t.Context(), ended); err != nil {
					t.Fatal(err)
				}
				eventually(t, "the end of another cause is not looked after", func() bool {
					return !slices.ContainsFunc(endedWaits(t, w.Platform), func(row *dbsqlc.WaitsEndedDueRow) bool { return row.Cause == string(other) })
				})
				if w.wentOn(t) {
					t.Error("it went on though it waits for something else")
				}
				tt.ends(t, w)
				eventually(t, "it does not go on", func() bool { return w.wentOn(t) })
			})
		}
	}
}

// newWaiting returns a world in which something waits.
func newWaiting(t *testing.T, what string, why error) *waitingWorld {
	t.Helper()
	w := &waitingWorld{config: platform.Defaults(), what: what}
	provider := waitingOnce{numbers: numbers{n: 1}, syncs: new(atomic.Pointer[error]), items: new(atomic.Pointer[error]), hooks: new(atomic.Pointer[error])}
	map[string]*atomic.Pointer[error]{"run": provider.syncs, "item": provider.items, "webhook": provider.hooks}[what].Store(&why)
	w.config.Providers = map[string]contracts.Provider{"waiting": provider}
	w.config.Handlers = map[string][]itemworker.ItemHandler{contracts.EventType(number{}): {provider.handle}}
	w.config.NATS = natstest.New(t).Connect()
	w.config.ItemWorker.Webhooks.Poll = 20 * time.Millisecond
	w.Platform, w.id = inHouse(t, &w.config)
	w.client = api.New(w.config.NATS, 20*time.Second)
	if what == "webhook" {
		_, err := w.config.Pool.Exec(t.Context(), `insert into webhooks
			(id, integration_id, provider, delivery_id, event_type, sequence, method, path, query, headers, body, next_try_at, received_at, stored_at)
			values ($1, $2, 'waiting', 'one', '', 1, 'POST', '/', '', '{}', '', now(), now(), now())`, postgres.NewID(), w.id)
		if err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the "+what+" does not wait", func() bool { return w.waits(t) })
	return w
}

// waits reports whether the run, item or webhook waits.
func (w *waitingWorld) waits(t *testing.T) bool {
	t.Helper()
	switch w.what {
	case "run":
		return newestRun(t, w.Platform, w.id).State == "waiting"
	case "item":
		held, err := w.Bus.Holds(t.Context(), wire.StreamItems, wire.RetryFilter("waiting", w.id.String()))
		return err == nil && held
	default:
		return w.webhooks(t, "status = 'pending' and waiting_for <> '' and next_try_at > now() + interval '10 minutes'") == 1
	}
}

// wentOn reports whether what waited is done.
func (w *waitingWorld) wentOn(t *testing.T) bool {
	t.Helper()
	if w.what == "webhook" {
		return w.webhooks(t, "status = 'processed'") == 1
	}
	run := newestRun(t, w.Platform, w.id)
	if run.ClosedAt != nil && (run.State != "succeeded" || run.Done != 1) {
		t.Fatalf("the run is %s with %d done: %s", run.State, run.Done, run.Error)
	}
	return run.ClosedAt != nil
}

func (w *waitingWorld) webhooks(t *testing.T, which string) (n int) {
	t.Helper()
	if err := w.config.Pool.QueryRow(t.Context(), "select count(*) from webhooks where "+which).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// endedOf counts the causes that have ended by a cleared budget, of those that the integration may wait for.
func endedOf(t *testing.T, w *waitingWorld) (n int) {
	t.Helper()
	const query = "select count(*) from waits_ended where integration_id = $1 and cause in ('budget', 'patience')"
	if err := w.config.Pool.QueryRow(t.Context(), query, w.id).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// clearAnother makes an integration and clears its budget.
func clearAnother(t *testing.T, p *platform.Platform, client *api.Client, name string) {
	t.Helper()
	made := dbsqlc.IntegrationInsertParams{ID: postgres.NewID(), Provider: "waiting", Name: name, Metadata: []byte("{}"), Now: time.Now()}
	if _, err := p.Store.IntegrationInsert(t.Context(), made); err != nil {
		t.Fatal(err)
	}
	if _, err := client.ClearRateLimit(t.Context(), api.ClearRateLimit{Integration: name}); err != nil {
		t.Fatal(err)
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
