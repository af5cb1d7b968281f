package webhookingress

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/watchdog"
	"github.com/tributaryhq/tributary/internal/wire"
)

const (
	// backlogSeen is the part of its room, one in so many, up to which nobody asks whose webhooks are in the stream.
	backlogSeen = 8
	// backlogShare is how many times the room that is left a provider's webhooks may take. One provider whose webhooks
	// nobody fetches is refused at four fifths, and two at four ninths each: there is always some room for the others.
	backlogShare = 4
)

// backlog is whose webhooks take so much room in the stream that the others' would find none.
type backlog struct {
	mu      sync.Mutex
	refused map[string]bool
}

func (b *backlog) refuses(provider string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.refused[provider]
}

// replace notes who is refused from now on, and returns who was before.
func (b *backlog) replace(refused map[string]bool) (before map[string]bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	before, b.refused = b.refused, refused
	return before
}

// crowding are the providers that take too much of the room, by how many messages each has there.
func crowding(usage bus.Usage, messages map[string]uint64) map[string]bool {
	refused := map[string]bool{}
	if usage.Messages == 0 || len(messages) < 2 {
		return refused
	}
	perMessage := float64(usage.Bytes) / float64(usage.Messages)
	for provider, n := range messages {
		if n > 0 && float64(n)*perMessage >= backlogShare*float64(usage.Most-usage.Bytes) {
			refused[provider] = true
		}
	}
	return refused
}

// watchBacklog looks at an interval who is to be refused, until ctx ends.
func (g *Ingress) watchBacklog(ctx context.Context) error {
	ticks := time.NewTicker(g.Settings.BacklogEvery)
	defer ticks.Stop()
	for {
		err := watchdog.Step(ctx, "look whose webhooks wait", func(ctx context.Context) error { return g.lookAtBacklog(ctx) })
		if err != nil && ctx.Err() == nil {
			// Readiness tells of a broker that does not answer; whoever was refused still is.
			g.Log.Debug("whose webhooks wait is not known", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticks.C:
		}
	}
}

// lookAtBacklog finds whose webhooks wait in the stream because nothing fetches them, as of a provider that no
// item-worker has. They are refused before they take the room of the others.
func (g *Ingress) lookAtBacklog(ctx context.Context) error {
	usage, err := g.Bus.Usage(ctx, wire.StreamWebhooks)
	if err != nil {
		return err
	}
	messages := map[string]uint64{}
	// kept are those of whom nothing is known now: they stay refused.
	var kept []string
	var problems []error
	if usage.Most > 0 && usage.Bytes > usage.Most/backlogSeen {
		for _, provider := range g.Registry.Keys() {
			n, err := g.Bus.Count(ctx, wire.StreamWebhooks, wire.WebhooksFilter(provider))
			if err != nil {
				problems = append(problems, err)
				if g.backlog.refuses(provider) {
					kept = append(kept, provider)
				}
				continue
			}
			messages[provider] = n
		}
	}
	refused := crowding(usage, messages)
	for _, provider := range kept {
		refused[provider] = true
	}
	before := g.backlog.replace(refused)
	for provider := range refused {
		if !before[provider] {
			g.Log.Warn("webhooks of a provider are refused: too many of them wait in NATS, and would take the room of the others; is there an item-worker with this provider?",
				"provider", provider, "waiting", messages[provider], "bytes", usage.Bytes, "of", usage.Most)
		}
	}
	for provider := range before {
		if !refused[provider] {
			g.Log.Info("webhooks of a provider are taken again", "provider", provider)
		}
	}
	return errors.Join(problems...)
}
