package webhookingress

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/directory"
	"github.com/tributaryhq/tributary/internal/watchdog"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// refusals counts requests without a valid signature, and says once an episode that there are many: a secret was changed on one side, or somebody
// tries.
type refusals struct {
	bus      *bus.Bus
	log      *slog.Logger
	now      func() time.Time
	burst    int
	gap      time.Duration
	messages chan wire.Message

	mu       sync.Mutex
	episodes map[string]*episode
}

type episode struct {
	since, last time.Time
	refused     int
}

func newRefusals(config Config) *refusals {
	return &refusals{
		bus: config.Bus, log: config.Log, now: config.Now, burst: config.Settings.Burst, gap: config.Settings.BurstGap,
		messages: make(chan wire.Message, 16), episodes: map[string]*episode{},
	}
}

// note counts one refusal against the integration that was addressed, or against the provider. Both are known ones, so that strangers can't fill the memory.
func (r *refusals) note(provider string, named *directory.Entry) {
	ref := &eventsv1.Ref{Provider: provider}
	if named != nil {
		ref = wire.NewRef(named.ID(), provider, named.Name(), named.Owner())
	}
	e := r.count(provider + "/" + ref.GetIntegrationId())
	if e.refused != r.burst {
		return
	}
	r.log.Warn("many webhooks have no valid signature", "provider", provider, "integration", ref.GetName(), "refused", e.refused, "since", e.since)
	m, err := wire.NewEvent(events.WebhooksRefused, provider, ref.GetIntegrationId(), "", &eventsv1.WebhooksRefused{
		Integration: ref, Refused: int32(e.refused), Since: timestamppb.New(e.since),
	})
	if err != nil {
		r.log.Error("event not made", "error", err)
		return
	}
	select {
	case r.messages <- m:
	default: // So many at once say the same.
	}
}

// ambiguous logs, once an episode, that deliveries to the address of a provider are refused though their signature is right.
func (r *refusals) ambiguous(provider, why, instead string) {
	if e := r.count(provider + " is ambiguous"); e.refused == 1 {
		r.log.Error("webhooks with a valid signature are refused: which integration they are for can't be told", "provider", provider, "reason", why, "use", instead)
	}
}

func (r *refusals) count(key string) episode {
	now := r.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.episodes[key]
	if e == nil || now.Sub(e.last) > r.gap {
		e = &episode{since: now}
		r.episodes[key] = e
	}
	e.last = now
	e.refused++
	return *e
}

// run publishes the events, away from the requests.
func (r *refusals) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case m := <-r.messages:
			err := watchdog.Step(ctx, "publish refusals", func(ctx context.Context) error { return r.bus.Publish(ctx, m) })
			if err != nil && ctx.Err() == nil {
				r.log.Warn("event not published", "subject", m.Subject, "error", err)
			}
		}
	}
}
