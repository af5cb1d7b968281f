package itemworker_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// hanging is a provider whose code does not return for webhooks of some types until the test ends.
type hanging struct {
	hooks
	held chan struct{}
}

func newHanging(t *testing.T) hanging {
	t.Helper()
	held := make(chan struct{})
	t.Cleanup(func() { close(held) })
	return hanging{held: held}
}

func (p hanging) ResolveWebhookEvent(req *contracts.WebhookRequest) (string, bool) {
	if req.Header.Get("Event") == "unresolved" {
		<-p.held
	}
	return p.hooks.ResolveWebhookEvent(req)
}

func (p hanging) CheckCheckpoint(c contracts.Checkpoint, _ time.Time) error {
	if string(c) == `"unchecked"` {
		<-p.held
	}
	return nil
}

func (hanging) DefaultSyncInterval() time.Duration     { return time.Hour }
func (hanging) DefaultRateLimit() *contracts.RateLimit { return nil }

func (hanging) Sync(context.Context, *contracts.Integration, contracts.SyncSession) error { return nil }

func (hanging) ReduceCheckpoints([]contracts.Checkpoint) (contracts.Cursor, error) { return nil, nil }

func (p hanging) CheckpointKey(contracts.Checkpoint) (string, error) {
	<-p.held
	return "", nil
}

func (p hanging) WebhookHandlers() map[string]contracts.WebhookFunc {
	return map[string]contracts.WebhookFunc{
		"quick": func(context.Context, *contracts.Integration, *contracts.WebhookRequest) (any, error) {
			return nil, nil
		},
		"unchecked": func(ctx context.Context, _ *contracts.Integration, _ *contracts.WebhookRequest) (any, error) {
			return nil, contracts.Dispatch(ctx, order{N: 1}, "unchecked", "o1")
		},
		"unordered": func(ctx context.Context, _ *contracts.Integration, _ *contracts.WebhookRequest) (any, error) {
			return nil, contracts.Dispatch(ctx, order{N: 1}, 1, "o1")
		},
		"unencoded": func(context.Context, *contracts.Integration, *contracts.WebhookRequest) (any, error) {
			return unencoded(p), nil
		},
	}
}

// unencoded is a result whose encoding does not return.
type unencoded hanging

func (u unencoded) MarshalJSON() ([]byte, error) {
	<-u.held
	return json.Marshal("held")
}

// A webhook for which the provider's code does not return has failed, and a suspect, which runs alone, has its turn
// beside it.
func TestWebhooksOfHangingProviders(t *testing.T) {
	t.Parallel()
	for event, want := range map[string]delivered{
		"unresolved": {Status: "pending", Error: "did not return in time", Tries: 1},
		"unchecked":  {Status: "pending", Error: "did not return in time", Tries: 1},
		"unordered":  {Status: "pending", Error: "did not return in time", Tries: 1},
		"unencoded":  {Status: "processed"},
	} {
		t.Run(event, func(t *testing.T) {
			t.Parallel()
			provider := newHanging(t)
			w, integration := newCalls(t, calls{}, 4)
			w = w.beside(t, obey, func(c *platform.Config) {
				c.Providers["hooks"], c.ItemWorker.AskTimeout = provider, 5*time.Second
				c.ItemWorker.Webhooks.Poll, c.ItemWorker.Webhooks.Backoff = 20*time.Millisecond,
					[]time.Duration{time.Hour}
			})
			first := w.hook(t, integration, event)
			w.start(t)
			await(t, "the webhook to be claimed", func() bool {
				var attempt int32
				w.scan(t, "select attempt from webhooks where id = $1", first, &attempt)
				return attempt > 0
			})
			suspect := postgres.NewID()
			w.exec(t, `insert into webhooks (id, integration_id, provider, delivery_id, event_type, sequence, method, path, query, headers, body, next_try_at, received_at, stored_at, crashes)
				values ($1, $2, 'hooks', $3, 'quick', 2, 'POST', '/', '', '{"Event": ["quick"]}', '', now(), now(), now(), 2)`, suspect, integration, suspect.String())
			if got := w.settled(t, suspect); got.Status != "processed" {
				t.Errorf("the suspect is %+v", got)
			}
			got := w.settled(t, first)
			if !strings.Contains(got.Error, want.Error) {
				t.Errorf("the error is %q, want %q", got.Error, want.Error)
			}
			if got.Error = want.Error; got != want {
				t.Errorf("the webhook is %+v, want %+v", got, want)
			}
		})
	}
}

// mute does not say which webhooks it handles.
type mute hanging

func (m mute) Name() string { return "Mute" }

func (m mute) WebhookHandlers() map[string]contracts.WebhookFunc { <-m.held; return nil }

// A provider whose handlers can't be announced does not keep the worker from its work.
func TestHandlersThatAreNotAnnounced(t *testing.T) {
	t.Parallel()
	w, integration := newCalls(t, calls{}, 4)
	w = w.beside(t, obey, func(c *platform.Config) {
		c.Providers["hooks"], c.Providers["mute"] = hooks{}, mute(newHanging(t))
		c.ItemWorker.AskTimeout, c.ItemWorker.Webhooks.Poll = time.Second, 20*time.Millisecond
	})
	id := w.hook(t, integration, "quick")
	w.start(t)
	if got := w.settled(t, id); got.Status == "pending" {
		t.Errorf("the webhook is %+v", got)
	}
}
