package itemworker_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/contracts"
	itemworker "github.com/tributaryhq/tributary/services/item-worker"
)

// metered has a budget of ten requests a day. The handler of its webhooks takes six of them.
type metered struct {
	hooks
}

func (metered) RateLimit() *contracts.RateLimit { return contracts.PerDay(10) }

func (metered) WebhookHandlers() map[string]contracts.WebhookFunc {
	return map[string]contracts.WebhookFunc{"shipped": func(ctx context.Context, in *contracts.Integration,
		_ *contracts.WebhookRequest,
	) (any, error) {
		if err := ask(ctx, in, 6); err != nil {
			return nil, err
		}
		return nil, contracts.Dispatch(ctx, order{N: 1}, nil, "o1")
	}}
}

// ask sends up to n requests, and ends with the first that fails.
func ask(ctx context.Context, in *contracts.Integration, n int) error {
	for range n {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://shop.example/", http.NoBody)
		if err != nil {
			return err
		}
		res, err := in.HTTP().Do(req)
		if err != nil {
			return err
		}
		if err := res.Body.Close(); err != nil {
			return err
		}
	}
	return nil
}

type answering struct{}

func (answering) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: req, Header: http.Header{}}, nil
}

// meteredWorld has handlers of items and of webhooks' items that send more requests than a day's budget has.
func meteredWorld(t *testing.T) (*world, *logBuffer) {
	t.Helper()
	log := &logBuffer{}
	w := newWorld(t, func(ctx context.Context, in *contracts.Integration, _ []byte) error {
		return ask(ctx, in, 1000)
	}, func(c *platform.Config) {
		c.Providers = map[string]contracts.Provider{"shop": metered{}, "hooks": metered{}}
		c.Transport = answering{}
		c.ItemWorker.Webhooks.Poll = 20 * time.Millisecond
		c.Handlers[contracts.EventType(order{})] = []itemworker.ItemHandler{func(ctx context.Context,
			in *contracts.Integration, _ []byte,
		) error {
			return ask(ctx, in, 1000)
		}}
		log.use(c)
	})
	return w, log
}

const needsMore = "need more requests than a window of the budget has"

// incidents counts the open incidents of an integration that say that its handlers need more than its budget.
func (w *world) incidents(t *testing.T, integration any) (n int) {
	t.Helper()
	w.scan(t, "select count(*) from incidents where integration_id = $1 and closed_at is null and 'provider' = "+
		"any(raised) and reason like '%"+needsMore+"%'", integration, &n)
	return n
}

// TestItemsThatNeedMoreThanTheirBudget has items whose handler needs more requests than a window of the budget has. The
// first try is deferred and no more. A later one, which had the window for itself, is warned of; so are all that die of
// it.
func TestItemsThatNeedMoreThanTheirBudget(t *testing.T) {
	t.Parallel()
	w, log := meteredWorld(t)
	w.start(t)
	for name, tt := range map[string]struct {
		deferrals int32
		text      string
		warned    int
	}{
		"first": {deferrals: 0, text: "after "},
		"later": {deferrals: 1, text: "needs more requests than a window of the budget has, ", warned: 1},
	} {
		batch := with(w.open(t, 1), name)
		batch.Items[0].Deferrals, batch.FirstAt = tt.deferrals, timestamppb.New(time.Now().Add(-6*time.Hour))
		w.send(t, batch)
		w.awaitAck(t, batch)
		got := w.dead(t, batch)[0]
		if got.Reason != "waited too long" || !strings.HasPrefix(got.Error, tt.text) ||
			!strings.Contains(got.Error, "10 requests in 24h0m0s") {
			t.Errorf("%s: the row says %+v, want %q", name, got, tt.text)
		}
		if n := log.count("integration=" + batch.GetIntegrationId() + " event=" + event +
			" external_id=x0 "); n != tt.warned {
			t.Errorf("%s: %d warnings, want %d", name, n, tt.warned)
		}
		if n := w.incidents(t, batch.GetIntegrationId()); n != tt.warned {
			t.Errorf("%s: %d incidents, want %d", name, n, tt.warned)
		}
	}
	if n := log.count(needsMore); n != 1 {
		t.Errorf("%d warnings, want one", n)
	}
}

// TestWebhooksThatNeedMoreThanTheirBudget is the same of webhooks: the requests of their handler and of the items that
// it dispatches count together.
func TestWebhooksThatNeedMoreThanTheirBudget(t *testing.T) {
	t.Parallel()
	w, log := meteredWorld(t)
	w.start(t)
	for name, tt := range map[string]struct {
		deferrals int32
		text      string
		warned    int
	}{
		"first": {deferrals: 0, text: "after "},
		"later": {deferrals: 3, text: "needs more requests than a window of the budget has, ", warned: 1},
	} {
		integration := postgres.NewID()
		if _, err := w.Store.IntegrationInsert(t.Context(), dbsqlc.IntegrationInsertParams{
			ID: integration, Provider: "hooks", Name: name, Metadata: []byte("{}"), Now: time.Now(),
		}); err != nil {
			t.Fatal(err)
		}
		id := w.hookDeferred(t, integration, tt.deferrals)
		got := w.settled(t, id)
		if got.WaitingFor != "budget" || got.Deferrals != tt.deferrals+1 || !strings.HasPrefix(got.Error, tt.text) {
			t.Errorf("%s: the row says %+v, want %q", name, got, tt.text)
		}
		if n := log.count("integration=" + name + " event=shipped external_id=" + id.String()); n != tt.warned {
			t.Errorf("%s: %d warnings, want %d", name, n, tt.warned)
		}
		if n := w.incidents(t, integration); n != tt.warned {
			t.Errorf("%s: %d incidents, want %d", name, n, tt.warned)
		}
	}
}

// hookDeferred stores a webhook that was deferred some times in a row.
func (w *world) hookDeferred(t *testing.T, integration uuid.UUID, deferrals int32) uuid.UUID {
	t.Helper()
	id := postgres.NewID()
	w.exec(t, `insert into webhooks (id, integration_id, provider, delivery_id, event_type, sequence, method, path, query, headers, body, deferrals, next_try_at, received_at, stored_at)
		values ($1, $2, 'hooks', $3, 'shipped', 1, 'POST', '/', '', '{"Event": ["shipped"]}', '', $4, now(), now(), now())`, id, integration, id.String(), deferrals)
	return id
}
