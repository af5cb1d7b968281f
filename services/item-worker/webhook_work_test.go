package itemworker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// calls is a provider whose webhooks of two types run what a test gives.
type calls struct {
	hooks
	first, second func(context.Context) error
}

func (c calls) WebhookHandlers() map[string]contracts.WebhookFunc {
	handler := func(f func(context.Context) error) contracts.WebhookFunc {
		return func(ctx context.Context, _ *contracts.Integration, _ *contracts.WebhookRequest) (any, error) {
			return nil, f(ctx)
		}
	}
	return map[string]contracts.WebhookFunc{"first": handler(c.first), "second": handler(c.second)}
}

// newCalls makes a worker with an integration of that provider.
func newCalls(t *testing.T, provider calls, concurrency int, more ...func(*platform.Config)) (w *world,
	integration uuid.UUID,
) {
	t.Helper()
	w = newWorld(t, obey, func(c *platform.Config) {
		c.Providers["hooks"] = provider
		c.ItemWorker.Webhooks.Poll = 20 * time.Millisecond
		c.ItemWorker.Webhooks.Concurrency = concurrency
		for _, adjust := range more {
			adjust(c)
		}
	})
	integration = postgres.NewID()
	if _, err := w.Store.IntegrationInsert(t.Context(), dbsqlc.IntegrationInsertParams{
		ID: integration, Provider: "hooks", Name: "one", Metadata: []byte("{}"), Now: time.Now(),
	}); err != nil {
		t.Fatal(err)
	}
	return w, integration
}

// TestWebhookThatPostgresRefusesLetsOthersPass has one slot, and Postgres refuse what became of a webhook for a reason
// that has nothing to do with its content. Another one is handled meanwhile; and what became of the first is written
// once Postgres takes it, without its handler being called again.
func TestWebhookThatPostgresRefusesLetsOthersPass(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"P0001", "42501"} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			var times atomic.Int32
			w, integration := newCalls(t, calls{
				first:  func(context.Context) error { times.Add(1); return nil },
				second: func(context.Context) error { return nil },
			}, 1, func(c *platform.Config) { c.SetAside.Waits = []time.Duration{time.Millisecond} })
			mend := w.refuseWith(t, code, "webhooks", "new.event_type = 'first' and new.status = 'processed'")
			first := w.hook(t, integration, "first")
			w.start(t)
			await(t, "the first to be handled", func() bool { return times.Load() > 0 })
			second := w.hook(t, integration, "second")
			if got := w.settled(t, second); got.Status != "processed" {
				t.Errorf("the second webhook is %+v", got)
			}
			await(t, "the first to be set aside", func() bool { return w.setAside(t, first) != "" })
			if about := w.setAside(t, first); !strings.HasPrefix(about, "first ") {
				t.Errorf("what is set aside is about %q", about)
			}
			var told int
			w.scan(t, "select count(*) from outbox where subject like '%work-set-aside%' and $1 = $1", code, &told)
			if told != 1 {
				t.Errorf("%d events say that it is set aside", told)
			}
			mend()
			if got := w.settled(t, first); got.Status != "processed" || times.Load() != 1 {
				t.Errorf("the first webhook is %+v after %d calls of its handler", got, times.Load())
			}
			await(t, "nothing to be set aside", func() bool { return w.setAside(t, first) == "" })
		})
	}
}

// setAside is what is said of a webhook that is set aside; empty when it is not.
func (w *world) setAside(t *testing.T, webhook uuid.UUID) (about string) {
	t.Helper()
	w.scan(t, `select coalesce(max(about), '') from set_aside
		where kind = 'settle-webhook' and key = $1::uuid::text and set_aside_at is not null`, webhook, &about)
	return about
}

// handled is an event for which the application has a handler.
type handled string

func (handled) EventType() string { return event }

// TestRecordsOfAWebhookThatPostgresRefuses has Postgres refuse the record of a webhook for a while. It is written again
// without the webhook's handlers being called again, neither the provider's nor the application's for another item.
func TestRecordsOfAWebhookThatPostgresRefuses(t *testing.T) {
	t.Parallel()
	for code, refused := range map[string]int{
		"25006": 3,             // read-only: for as long as that takes
		"57014": 2, "55P03": 2, // given up: for three tries
	} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			var times atomic.Int32
			w, integration := newCalls(t, calls{first: func(ctx context.Context) error {
				times.Add(1)
				return errors.Join(contracts.Dispatch(ctx, handled("done"), nil, "x0"),
					contracts.Dispatch(ctx, order{N: 1}, nil, "x1"))
			}}, 1)
			w.exec(t, "create sequence refusals")
			w.refuseWith(t, code, "records", fmt.Sprintf("nextval('refusals') <= %d", refused))
			id := w.hook(t, integration, "first")
			w.start(t)
			if got := w.settled(t, id); got.Status != "processed" || times.Load() != 1 || w.called(`"done"`) != 1 {
				t.Errorf("the webhook is %+v after %d calls of its handler, and %d of the item's", got, times.Load(),
					w.called(`"done"`))
			}
			var asked, stored int
			w.scan(t, "select last_value from refusals where $1::integer = 0", 0, &asked)
			w.scan(t, "select count(*) from records where integration_id = $1", integration, &stored)
			if asked <= refused || stored != 1 {
				t.Errorf("%d records are stored after %d tries, of which %d were refused", stored, asked, refused)
			}
		})
	}
}

// TestSuspectWebhookIsHandedBack stops a worker while a webhook that was in work at two deaths waits to run alone: it
// has not begun, so that the stop is not charged to it.
func TestSuspectWebhookIsHandedBack(t *testing.T) {
	t.Parallel()
	begun, release := make(chan struct{}), make(chan struct{})
	var times atomic.Int32
	w, integration := newCalls(t, calls{
		first:  func(context.Context) error { close(begun); <-release; return nil },
		second: func(context.Context) error { times.Add(1); return nil },
	}, 4)
	first := w.hook(t, integration, "first")
	stop := w.start(t)
	<-begun
	suspect := postgres.NewID()
	w.exec(t, `insert into webhooks (id, integration_id, provider, delivery_id, event_type, sequence, method, path, query, headers, body, next_try_at, received_at, stored_at, crashes)
		values ($1, $2, 'hooks', $3, 'second', 2, 'POST', '/', '', '{"Event": ["second"]}', '', now(), now(), now(), 2)`, suspect, integration, suspect.String())
	state := func() (status string, crashes, attempt int32) {
		w.scan(t, "select status, crashes, attempt from webhooks where id = $1", suspect, &status, &crashes, &attempt)
		return status, crashes, attempt
	}
	await(t, "the suspect to be claimed", func() bool { status, _, _ := state(); return status == "processing" })
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		stop()
	}()
	await(t, "the suspect to be handed back", func() bool { status, _, _ := state(); return status == "pending" })
	close(release)
	<-stopped
	if _, crashes, attempt := state(); crashes != 2 || attempt == 0 || times.Load() != 0 {
		t.Errorf("the suspect is charged with %d deaths after %d calls", crashes, times.Load())
	}
	if got := w.settled(t, first); got.Status != "processed" {
		t.Errorf("the first webhook is %+v", got)
	}
	w.beside(t, obey, func(c *platform.Config) {
		c.Providers["hooks"] = calls{second: func(context.Context) error { times.Add(1); return nil }}
	}).start(t)
	await(t, "the suspect to be handled", func() bool { status, _, _ := state(); return status == "processed" })
	if n := times.Load(); n != 1 {
		t.Errorf("the handler of the suspect was called %d times", n)
	}
}

// TestLockedWebhookLetsOthersPass has somebody lock the row of a webhook in work, and forget that: others are handled,
// and their leases renewed; it is settled once the lock is gone.
func TestLockedWebhookLetsOthersPass(t *testing.T) {
	t.Parallel()
	begun, release := make(chan struct{}), make(chan struct{})
	var times atomic.Int32
	w, integration := newCalls(t, calls{
		first:  func(context.Context) error { times.Add(1); close(begun); <-release; return nil },
		second: func(context.Context) error { return nil },
	}, 4)
	first := w.hook(t, integration, "first")
	w.start(t)
	<-begun
	lock, err := w.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Rollback(context.Background()) }()
	if _, err := lock.Exec(t.Context(), "select 1 from webhooks where id = $1 for update", first); err != nil {
		t.Fatal(err)
	}
	close(release)
	second := w.hook(t, integration, "second")
	if got := w.settled(t, second); got.Status != "processed" {
		t.Errorf("the second webhook is %+v", got)
	}
	other, until := w.hook(t, integration, "none"), time.Now().Add(time.Hour).Truncate(time.Microsecond)
	w.exec(t, "update webhooks set status = 'processing', attempt = 7, lease_until = now() + interval '1 minute' "+
		"where id = $1", other)
	var attempt int32
	w.scan(t, "select attempt from webhooks where id = $1", first, &attempt)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := w.Store.WebhookRenew(ctx, dbsqlc.WebhookRenewParams{
		LeaseUntil: until, Ids: []uuid.UUID{first, other},
		Attempts: []int32{attempt, 7},
	}); err != nil {
		t.Errorf("leases are not renewed: %v", err)
	}
	var lease time.Time
	w.scan(t, "select lease_until from webhooks where id = $1", other, &lease)
	if !lease.Equal(until) {
		t.Errorf("the lease ends at %s, want %s", lease, until)
	}
	if err := lock.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := w.settled(t, first); got.Status != "processed" || times.Load() != 1 {
		t.Errorf("the first webhook is %+v after %d calls", got, times.Load())
	}
}
