// Package webhookwork takes webhooks to their end: off the stream into the table, from there to their provider's
// handler, and what that dispatches to the application's handlers. The item-worker's process runs it.
package webhookwork

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/tributaryhq/tributary/internal/batching"
	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/deferral"
	"github.com/tributaryhq/tributary/internal/delivery"
	"github.com/tributaryhq/tributary/internal/handling"
	"github.com/tributaryhq/tributary/internal/integrations"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/registry"
	"github.com/tributaryhq/tributary/internal/setaside"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// Settings are the numbers that webhooks are worked on by.
type Settings struct {
	// Concurrency is how many are in work at a time.
	Concurrency int
	// Tries is how often one may fail before it waits for a replay.
	Tries int
	// Backoff is the wait after each failed try, the last one repeated; spread by 20 % either way.
	Backoff []time.Duration
	// Window is how long after its first try one may still be deferred.
	Window time.Duration
	// Crashes is after how many deaths of its worker one counts as their cause.
	Crashes int
	// Poll is how often those that are due are looked for, beside when there is news.
	Poll time.Duration
}

// DefaultSettings are the original's back-off, with a try after each of its waits.
func DefaultSettings() Settings {
	return Settings{
		Concurrency: 64, Tries: 6, Window: 72 * time.Hour, Crashes: 3, Poll: time.Second,
		Backoff: []time.Duration{time.Minute, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 6 * time.Hour},
	}
}

const (
	// storedAtATime and claimedAtATime bound what one statement takes.
	storedAtATime  = 200
	claimedAtATime = 100
	// patience is how long a delivery rests while the database is away.
	patience = 2 * time.Second
)

// Config is what a worker is made of.
type Config struct {
	Bus          *bus.Bus
	Store        *postgres.Store
	Registry     *registry.Registry
	Integrations *integrations.Loader
	// Deliveries opens what is sealed of webhooks.
	Deliveries *delivery.Codec
	// SetAside has the webhooks whose outcome Postgres refuses.
	SetAside *setaside.Set
	// Handlers are the application's, with the times that calls have.
	Handlers *handling.Handlers
	// Around returns what is called in place of a provider's handler; nil means the handler itself.
	Around  func(contracts.WebhookFunc) contracts.WebhookFunc
	Log     *slog.Logger
	Metrics *Metrics
	Now     func() time.Time
	// Crash is called at named points; tests end the process there.
	Crash func(point string)
	// Waits bound how long deferred webhooks wait.
	Waits    deferral.Bounds
	Settings Settings
}

// Worker works on webhooks. Any number of them may run.
type Worker struct {
	Config
	// unordered and ordered are the keys of the providers that take webhooks.
	unordered, ordered []string
	stores             *batching.Batcher[stored]
	looks              *batching.Batcher[*lateLook]
	finishes           *batching.Batcher[finished]
	kicks              chan struct{}
	slots              chan struct{}

	// suspecting says that a delivery is in work that may kill the process: nothing is claimed beside it, to be charged
	// with its deed.
	suspecting atomic.Bool
	// unwritten are the claims with an outcome that Postgres refuses.
	unwritten atomic.Int64

	mu sync.Mutex
	// held are the claims in work, and their attempts; renewedAt is when all were last renewed.
	held      map[uuid.UUID]int32
	renewedAt time.Time
	// apart are deliveries that are stored alone.
	apart map[uuid.UUID]bool
}

// New returns a worker.
func New(config Config) *Worker {
	if config.Around == nil {
		config.Around = func(fn contracts.WebhookFunc) contracts.WebhookFunc { return fn }
	}
	w := &Worker{
		Config: config, kicks: make(chan struct{}, 1), slots: make(chan struct{}, config.Settings.Concurrency),
		held: map[uuid.UUID]int32{}, apart: map[uuid.UUID]bool{},
	}
	w.stores = batching.New(storedAtATime, w.store)
	w.looks = batching.New(storedAtATime, w.look)
	w.finishes = batching.New(storedAtATime, w.finish)
	for _, key := range w.Registry.Keys() {
		provider, err := w.Registry.Provider(key)
		if err != nil {
			continue
		}
		if _, ok := provider.(contracts.WebhookHandler); !ok {
			continue
		}
		if _, ok := provider.(contracts.WebhookOrderer); ok {
			w.ordered = append(w.ordered, key)
		} else {
			w.unordered = append(w.unordered, key)
		}
	}
	return w
}

// Announce adds the types of webhooks that this worker has handlers for.
func (w *Worker) Announce(ctx context.Context, in *handling.Announcement) {
	for _, key := range slices.Concat(w.ordered, w.unordered) {
		in.AddWebhooks(key, w.types(ctx, key))
	}
}

// types are the event types for which a provider has a handler.
func (w *Worker) types(ctx context.Context, key string) []string {
	types, err := handling.Ask(ctx, w.Handlers, "the list of webhook handlers", func() (types []string, err error) {
		provider, err := w.Registry.Provider(key)
		if err != nil {
			return nil, err
		}
		if handler, ok := provider.(contracts.WebhookHandler); ok {
			for eventType, fn := range handler.WebhookHandlers() {
				if fn != nil {
					types = append(types, eventType)
				}
			}
		}
		return types, nil
	})
	if err != nil {
		w.Log.Error("webhook handlers can't be announced; workers of other builds may ignore their deliveries",
			"provider", key, "error", err)
		return nil
	}
	return types
}

// Run works until ctx ends. What is written goes on a little longer, for those that are in work then.
func (w *Worker) Run(ctx context.Context) error {
	if len(w.ordered)+len(w.unordered) == 0 {
		return nil
	}
	lasting, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	go w.stores.Run(lasting)
	go w.looks.Run(lasting)
	go w.finishes.Run(lasting)
	go w.renew(lasting)
	group, ctx := errgroup.WithContext(ctx)
	for _, keys := range [][]string{w.ordered, w.unordered} {
		for _, key := range keys {
			group.Go(func() error {
				return w.Bus.Consume(ctx, bus.Consumption{
					Stream: wire.StreamWebhooks, Consumer: wire.WebhooksConsumer(key, w.Bus.Timing()),
					Slots: 2 * storedAtATime, Grace: w.Handlers.Settings.Grace, Hold: w.Store.Ready, Handle: w.take,
				})
			})
		}
	}
	group.Go(func() error { return w.claim(ctx) })
	return group.Wait()
}
