// Package itemworker runs handlers on batches of items and writes down what became of each. The order is always: effect
// (the delayed hop stored by the broker, the dead row or the receipt committed), then entry, then acknowledgement; a
// crash in between repeats work and loses none.
package itemworker

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/tributaryhq/tributary/internal/batching"
	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/deferral"
	"github.com/tributaryhq/tributary/internal/delivery"
	"github.com/tributaryhq/tributary/internal/handling"
	"github.com/tributaryhq/tributary/internal/integrations"
	"github.com/tributaryhq/tributary/internal/loop"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/registry"
	"github.com/tributaryhq/tributary/internal/setaside"
	"github.com/tributaryhq/tributary/internal/watchdog"
	"github.com/tributaryhq/tributary/internal/webhookwork"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// Settings are the numbers that a worker runs by; [DefaultSettings] has the original's and the measured ones.
type Settings struct {
	// Concurrency is how many items of each lane are in work at a time.
	Concurrency int
	// Batches is how many batches of a provider's lane are in work at a time.
	Batches int
	// Tries is how often an item may fail before it is dead.
	Tries int
	// Backoff is the wait after each failed try, the last one repeated; spread by 20 % either way.
	Backoff []time.Duration
	// Waits bound how long deferred items and webhooks wait.
	Waits deferral.Bounds
	// Window is how long after its first hand-over an item may still be tried, deferrals included, pauses not.
	Window time.Duration
	// Timeout is how long one handler may take.
	Timeout time.Duration
	// AskTimeout is how long a provider's code may take that only computes, such as the type of a webhook.
	AskTimeout time.Duration
	// Progress is how often the outcomes of a batch under way are written down.
	Progress time.Duration
	// Hold is for how long outcomes that a store refuses are kept and tried again, before their batch is handed back
	// and handlers are called again.
	Hold time.Duration
	// Careful is after how many deliveries without progress a batch is taken one item at a time.
	Careful uint64
	// Park is for how long items of a paused integration are put aside.
	Park time.Duration
	// Grace is how long handlers may go on after the service was told to stop.
	Grace time.Duration
	// LockWait is how long a transaction may wait for each lock that another one holds.
	LockWait time.Duration
	// Webhooks are the numbers of the other half.
	Webhooks webhookwork.Settings
}

// DefaultSettings are the original's tries, back-off and window, and the figures of the measurements in
// docs/benchmarks.md.
func DefaultSettings() Settings {
	return Settings{
		Concurrency: 64, Batches: 16, Tries: 5,
		Backoff: []time.Duration{
			10 * time.Second, 30 * time.Second, 2 * time.Minute, 5 * time.Minute,
			15 * time.Minute,
		},
		Waits:  deferral.Default(),
		Window: 6 * time.Hour, Timeout: 5 * time.Minute, AskTimeout: 10 * time.Second, Progress: time.Second,
		Hold: 10 * time.Minute, Careful: 2, Park: 15 * time.Second,
		Grace: 20 * time.Second, LockWait: 5 * time.Second,
		Webhooks: webhookwork.DefaultSettings(),
	}
}

// ItemHandler is the application's work on one item: payload is the event as JSON.
type ItemHandler = handling.ItemHandler

// Config is what a worker is made of.
type Config struct {
	Bus          *bus.Bus
	Checkpoints  *checkpoint.Store
	Store        *postgres.Store
	Registry     *registry.Registry
	Integrations *integrations.Loader
	// Deliveries opens what is sealed of webhooks.
	Deliveries *delivery.Codec
	// SetAside has the webhooks whose outcome Postgres refuses.
	SetAside *setaside.Set
	// Handlers are found by event type; several run one after the other and all must succeed. Items without any go to
	// the records table, unless a worker has had one for their type: then they wait for a worker that has it.
	Handlers map[string][]ItemHandler
	// AroundWebhook returns what is called in place of a provider's handler of a webhook; nil means the handler itself.
	AroundWebhook func(contracts.WebhookFunc) contracts.WebhookFunc
	Log           *slog.Logger
	Metrics       *Metrics
	Now           func() time.Time
	// Crash is called at named points; tests end the process there. It may be nil.
	Crash    func(point string)
	Settings Settings
}

// Worker is the service. Any number of them may run.
type Worker struct {
	Config
	// incarnation names this process's life in the entries of careful batches.
	incarnation string
	workers     jetstream.KeyValue
	slots       map[wire.Lane]chan struct{}
	// receipts are written together for all batches in work.
	receipts *batching.Batcher[postgres.Receipt]
	handlers *handling.Handlers
	webhooks *webhookwork.Worker
	// unloaded are the integrations that can't be loaded.
	unloaded handling.Episodes[string]
}

// New returns a worker.
func New(config Config) *Worker {
	if config.Crash == nil {
		config.Crash = func(string) {}
	}
	w := &Worker{
		Config: config, incarnation: uuid.NewString(),
		slots: map[wire.Lane]chan struct{}{
			wire.Shared: make(chan struct{}, config.Settings.Concurrency),
			wire.Bulk:   make(chan struct{}, config.Settings.Concurrency),
		},
	}
	w.receipts = batching.New(receiptsAtATime, w.writeReceipts)
	settings := config.Settings
	w.handlers = handling.New(handling.Config{
		Store: config.Store, Items: config.Handlers, Log: config.Log, Took: config.Metrics.items, Now: config.Now,
		Crash:    config.Crash,
		Settings: handling.Settings{Timeout: settings.Timeout, AskTimeout: settings.AskTimeout, Grace: settings.Grace},
	})
	w.webhooks = webhookwork.New(webhookwork.Config{
		Bus: config.Bus, Store: config.Store, Registry: config.Registry, Integrations: config.Integrations,
		Deliveries: config.Deliveries,
		SetAside:   config.SetAside, Handlers: w.handlers, Around: config.AroundWebhook, Log: config.Log,
		Metrics: config.Metrics.webhooks, Now: config.Now, Crash: config.Crash,
		Waits: settings.Waits, Settings: settings.Webhooks,
	})
	return w
}

// Run works off the items of the providers in the registry until ctx ends.
func (w *Worker) Run(ctx context.Context) error {
	ctx = postgres.BoundLocks(ctx, w.Settings.LockWait)
	workers, err := w.Bus.Bucket(ctx, wire.BucketWorkers)
	if err != nil {
		return err
	}
	w.workers = workers
	announcement := w.handlers.Announcement(w.Registry.Keys())
	w.webhooks.Announce(ctx, announcement)
	if !w.handlers.AnnounceFirst(ctx, announcement) {
		return nil
	}
	group, ctx := errgroup.WithContext(ctx)
	leased, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()
	go w.keepLease(leased)
	go w.receipts.Run(leased)
	for _, key := range w.Registry.Keys() {
		for _, lane := range []wire.Lane{wire.Shared, wire.Bulk} {
			group.Go(func() error {
				return w.Bus.Consume(ctx, bus.Consumption{
					Stream: wire.StreamItems, Consumer: wire.ItemsConsumer(lane, key, w.Bus.Timing()),
					Slots: w.Settings.Batches, Grace: w.Settings.Grace, Hold: w.Store.Ready,
					Handle: func(ctx context.Context, d *bus.Delivery) error { return w.handle(ctx, lane, d) },
				})
			})
		}
	}
	group.Go(func() error { return w.webhooks.Run(ctx) })
	group.Go(func() error {
		return loop.Every(ctx, w.Log, "announce handlers", handling.AnnounceInterval, nil,
			func(ctx context.Context) error {
				return w.handlers.Announce(ctx, announcement)
			})
	})
	return group.Wait()
}

// keepLease shows that this incarnation lives.
func (w *Worker) keepLease(ctx context.Context) {
	ticker := time.NewTicker(w.Bus.Timing().WorkerLease / 3)
	defer ticker.Stop()
	for {
		lost := w.Bus.Changed(wire.BucketWorkers)
		err := watchdog.Step(ctx, "renew the worker's lease", func(ctx context.Context) error {
			_, err := w.workers.Put(ctx, w.incarnation, nil)
			return err
		})
		if err != nil && ctx.Err() == nil {
			w.Log.Debug("lease not renewed", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-lost:
		case <-ticker.C:
		}
	}
}

// lives reports whether an incarnation still has its lease.
func (w *Worker) lives(ctx context.Context, incarnation string) (bool, error) {
	_, err := w.workers.Get(ctx, incarnation)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return false, nil
	}
	return err == nil, err
}

// writeReceipts writes the receipts of several batches.
func (w *Worker) writeReceipts(ctx context.Context, receipts []postgres.Receipt) error {
	return w.Store.AddReceipts(ctx, receipts...)
}
