package itemworker_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// TestWhatIsAroundWebhooks has what is around the handlers of webhooks panic, return an error and a permanent one: that
// is as if the handler had. The handler itself is called when it is called from there.
func TestWhatIsAroundWebhooks(t *testing.T) {
	t.Parallel()
	var around, called atomic.Int32
	w, integration := newCalls(t, calls{
		first:  func(context.Context) error { called.Add(1); return nil },
		second: func(context.Context) error { called.Add(100); return nil },
	}, 1, func(c *platform.Config) {
		c.ItemWorker.Webhooks.Backoff = []time.Duration{time.Millisecond}
		c.AroundWebhook = func(next contracts.WebhookFunc) contracts.WebhookFunc {
			return func(ctx context.Context, in *contracts.Integration, req *contracts.WebhookRequest) (any, error) {
				switch around.Add(1) {
				case 1:
					panic("around")
				case 2:
					return nil, errors.New("not yet")
				case 3:
					return next(ctx, in, req)
				default:
					return nil, contracts.Permanent(errors.New("not at all"))
				}
			}
		}
	})
	w.start(t)
	ended := func(id uuid.UUID) (got delivered) {
		await(t, "the webhook to end", func() bool { got = w.settled(t, id); return got.Status != "pending" })
		return got
	}
	if got := ended(w.hook(t, integration, "first")); got.Status != "processed" || got.Tries != 2 ||
		called.Load() != 1 {
		t.Errorf("the first webhook is %+v, and its handler was called %d times", got, called.Load())
	}
	if got := ended(w.hook(t, integration, "second")); got.Status != "failed" ||
		!strings.Contains(got.Error, "not at all") || called.Load() != 1 {
		t.Errorf("the second webhook is %+v, and handlers were called %d times", got, called.Load())
	}
}
