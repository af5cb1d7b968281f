package itemworker_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

type order struct{ N int }

type parcel struct{ N int }

// hooks takes webhooks whose path is their type. It handles one, of which two records come.
type hooks struct {
	contracts.NoCredentials
	contracts.NoMetadata
	contracts.WebhookDefaults
}

func (hooks) Name() string { return "Hooks" }

func (hooks) HandleWebhook(context.Context, *contracts.Integration, *contracts.WebhookRequest) (any, error) {
	return nil, nil
}

func (hooks) VerifyWebhookSignature(context.Context, *contracts.Integration, *contracts.WebhookRequest) error {
	return nil
}

func (hooks) ResolveWebhookEvent(req *contracts.WebhookRequest) (string, bool) {
	return req.Header.Get("Event"), req.Header.Get("Event") != ""
}

func (hooks) WebhookHandlers() map[string]contracts.WebhookFunc {
	return map[string]contracts.WebhookFunc{"none": nil, "shipped": func(ctx context.Context, _ *contracts.Integration,
		_ *contracts.WebhookRequest,
	) (any, error) {
		if err := contracts.Dispatch(ctx, order{N: 1}, nil, "o1"); err != nil {
			return nil, err
		}
		return "both", contracts.Dispatch(ctx, parcel{N: 2}, nil, "p2")
	}}
}

// delivered is a webhook as its row shows it.
type delivered struct {
	Status, WaitingFor, Reason, Error string
	Tries, Deferrals                  int32
}

// hook stores a webhook of a type.
func (w *world) hook(t *testing.T, integration uuid.UUID, eventType string) uuid.UUID {
	t.Helper()
	id := postgres.NewID()
	w.exec(t, `insert into webhooks (id, integration_id, provider, delivery_id, event_type, sequence, method, path, query, headers, body, next_try_at, received_at, stored_at)
		values ($1, $2, 'hooks', $3, $4, 1, 'POST', '/', '', jsonb_build_object('Event', jsonb_build_array($4::text)), '', now(), now(), now())`,
		id, integration, id.String(), eventType)
	return id
}

// settled waits until a webhook was in work and is not any more, and returns what became of it.
func (w *world) settled(t *testing.T, id uuid.UUID) (d delivered) {
	t.Helper()
	await(t, "the webhook to be settled", func() bool {
		var attempt int32
		w.scan(t, "select status, waiting_for, reason, error, tries, deferrals, attempt from webhooks where id = $1",
			id,
			&d.Status, &d.WaitingFor, &d.Reason, &d.Error, &d.Tries, &d.Deferrals, &attempt)
		return attempt > 0 && d.Status != "processing"
	})
	return d
}

// TestWebhooksWaitForTheWorkerWithTheirHandler has deliveries of a type that another build of the provider handled, of
// one that none ever did, and of one that dispatches an item for which another worker had a handler.
func TestWebhooksWaitForTheWorkerWithTheirHandler(t *testing.T) {
	t.Parallel()
	w := newWorld(t, obey, func(c *platform.Config) {
		c.Providers["hooks"] = hooks{}
		c.Handlers[contracts.EventType(order{})] = c.Handlers[event]
		c.ItemWorker.Webhooks.Poll = 20 * time.Millisecond
	})
	w.hadHandler(t, "hooks", "webhook", "gone")
	w.hadHandler(t, "hooks", "item", "never")
	w.hadHandler(t, "hooks", "item", contracts.EventType(parcel{}))
	integration := postgres.NewID()
	if _, err := w.Store.IntegrationInsert(t.Context(), dbsqlc.IntegrationInsertParams{
		ID: integration, Provider: "hooks", Name: "one", Metadata: []byte("{}"), Now: time.Now(),
	}); err != nil {
		t.Fatal(err)
	}
	gone, never, shipped := w.hook(t, integration, "gone"), w.hook(t, integration, "never"),
		w.hook(t, integration, "shipped")
	w.exec(t, "update webhooks set deferrals = 20 where id in ($1, $2)", gone, shipped)
	w.start(t)
	text := func(eventType, otherwise, flag string) string {
		return fmt.Sprintf("retry after 5m0s: this worker has no handler for %[1]s, and another had one: run a build "+
			"that has it, or have the type %[2]s from now on: "+
			"tributary handlers forget hooks %[1]s%[3]s", eventType, otherwise, flag)
	}
	parcels := contracts.EventType(parcel{})
	for id, want := range map[uuid.UUID]delivered{
		gone: {
			Status: "pending", WaitingFor: "handler", Deferrals: 21,
			Error: text("gone", "ignored", " --webhook"),
		},
		never: {Status: "ignored"},
		shipped: {
			Status: "pending", WaitingFor: "handler", Deferrals: 21,
			Error: text(parcels, "stored as records", ""),
		},
	} {
		if diff := cmp.Diff(want, w.settled(t, id)); diff != "" {
			t.Error(diff)
		}
	}
	if n := w.called(`{"N":1}`); n != 0 {
		t.Errorf("a handler was called %d times for a delivery that waits", n)
	}
	var announced int
	w.scan(t, "select count(*) from handled_types where kind = 'webhook' and provider = $1 and event_type in "+
		"('shipped', 'none')", "hooks", &announced)
	if announced != 1 {
		t.Errorf("%d webhook handlers were announced, want the one that is there", announced)
	}

	w.exec(t, "delete from handled_types where event_type = any($1)", []string{"gone", parcels})
	w.exec(t, "update webhooks set next_try_at = now() where status = 'pending'")
	await(t, "the forgotten ones", func() bool {
		return w.settled(t, gone).Status == "ignored" && w.settled(t, shipped).Status == "processed"
	})
	if n := w.called(`{"N":1}`); n != 1 {
		t.Errorf("the handler was called %d times for the delivery's order, want once", n)
	}
	var records int
	w.scan(t, "select count(*) from records where event_type = $1", parcels, &records)
	if records != 1 {
		t.Errorf("%d records of the delivery's parcel, want 1", records)
	}
}
