package integrations

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/watchdog"
)

// doubtEvery is how often followers are told to look at everything, for a connection that is dead and doesn't know it.
const doubtEvery = 15 * time.Second

// Feed tells this process of integrations that were made, changed or deleted by any process, well within a second. What raises an integration's
// version is told, as every change of its settings, metadata, status or credentials does.
type Feed struct {
	store *postgres.Store

	mu        sync.Mutex
	followers []func(id uuid.UUID)
}

// NewFeed returns a feed, which tells nothing before [Feed.Run] runs.
func NewFeed(store *postgres.Store) *Feed { return &Feed{store: store} }

// Follow has fn called with the id of every integration that changed, and with [uuid.Nil] when any may have: at the start, after a lost connection, and
// every 15 s to be sure. Calls come one at a time, more than once for a change, and must not block.
func (f *Feed) Follow(fn func(id uuid.UUID)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.followers = append(f.followers, fn)
}

// Run tells until ctx ends.
func (f *Feed) Run(ctx context.Context) error {
	var doubting sync.WaitGroup
	defer doubting.Wait()
	doubting.Go(func() {
		ticker := time.NewTicker(doubtEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				_ = watchdog.Step(ctx, "doubt what is known of integrations", func(context.Context) error { f.tell(uuid.Nil); return nil })
			}
		}
	})
	f.store.Listen(ctx, "tributary_integrations", func(payload string) {
		// What is no id is taken for "any may have changed".
		id, _ := uuid.Parse(payload)
		f.tell(id)
	})
	return nil
}

func (f *Feed) tell(id uuid.UUID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, follower := range f.followers {
		follower(id)
	}
}
