// Package itemworker runs handlers on batches of items and writes down what became of each. The order is always: effect (the delayed hop stored
// by the broker, the dead row or the receipt committed), then entry, then acknowledgement; a crash in between repeats work and loses none.
package itemworker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/deferral"
	"github.com/tributaryhq/tributary/internal/delivery"
	"github.com/tributaryhq/tributary/internal/integrations"
	"github.com/tributaryhq/tributary/internal/loop"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/registry"
	"github.com/tributaryhq/tributary/internal/setaside"
	"github.com/tributaryhq/tributary/internal/watchdog"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/contracts"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
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
	// Hold is for how long outcomes that a store refuses are kept and tried again, before their batch is handed back and handlers are called again.
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
	Webhooks WebhookSettings
}

// DefaultSettings are the original's tries, back-off and window, and the figures of the measurements in docs/benchmarks.md.
func DefaultSettings() Settings {
	return Settings{
		Concurrency: 64, Batches: 16, Tries: 5,
		Backoff: []time.Duration{10 * time.Second, 30 * time.Second, 2 * time.Minute, 5 * time.Minute, 15 * time.Minute},
		Waits:   deferral.Default(),
		Window:  6 * time.Hour, Timeout: 5 * time.Minute, AskTimeout: 10 * time.Second, Progress: time.Second, Hold: 10 * time.Minute, Careful: 2, Park: 15 * time.Second,
		Grace: 20 * time.Second, LockWait: 5 * time.Second,
		Webhooks: DefaultWebhookSettings(),
	}
}

// ItemHandler is the application's work on one item: payload is the event as JSON.
type ItemHandler func(ctx context.Context, in *contracts.Integration, payload []byte) error

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
	// Handlers are found by event type; several run one after the other and all must succeed. Items without any go to the records table, unless a
	// worker has had one for their type: then they wait for a worker that has it.
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
	receipts *gatherer[postgres.Receipt]
	// alone is held shared by every item in work, and alone by an item that is suspected of killing its worker.
	alone sync.RWMutex
	// lacks are the handlers that this worker lacks and that another one had.
	lacks episodes[lack]
	// unloaded are the integrations that can't be loaded.
	unloaded episodes[string]
	// restarts are tries that used budgets up and did not end.
	restarts restarts
}

// New returns a worker.
func New(config Config) *Worker {
	if config.Crash == nil {
		config.Crash = func(string) {}
	}
	if config.AroundWebhook == nil {
		config.AroundWebhook = func(fn contracts.WebhookFunc) contracts.WebhookFunc { return fn }
	}
	w := &Worker{
		Config: config, incarnation: uuid.NewString(),
		slots: map[wire.Lane]chan struct{}{
			wire.Shared: make(chan struct{}, config.Settings.Concurrency),
			wire.Bulk:   make(chan struct{}, config.Settings.Concurrency),
		},
	}
	w.receipts = newGatherer(receiptsAtATime, w.writeReceipts)
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
	h := newWebhooks(w)
	announcement := w.announcement(ctx, h)
	if !w.announceFirst(ctx, announcement) {
		return nil
	}
	group, ctx := errgroup.WithContext(ctx)
	leased, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()
	go w.keepLease(leased)
	go w.receipts.run(leased)
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
	group.Go(func() error { return h.run(ctx) })
	group.Go(func() error {
		return loop.Every(ctx, w.Log, "announce handlers", announceInterval, nil, func(ctx context.Context) error { return w.announce(ctx, announcement) })
	})
	return group.Wait()
}

func (w *Worker) handle(ctx context.Context, lane wire.Lane, d *bus.Delivery) error {
	batch, err := wire.ReadBatch(d.Body)
	if err != nil || len(batch.GetItems()) == 0 {
		return bus.Again(time.Minute, "a batch that this version can't read")
	}
	job, err := w.admit(ctx, lane, d, batch)
	admitted := err == nil
	if admitted && job != nil {
		err = job.run(ctx)
	}
	switch {
	case errors.Is(err, errRefused):
		w.Metrics.refused(batch.GetProvider())
		return nil
	case postgres.Unavailable(err), errors.Is(err, errUnwritten):
		return w.handBack(ctx, d, batch, 2*time.Second, err)
	case errors.Is(err, errStopping), errors.Is(err, errRest):
		return w.handBack(ctx, d, batch, 0, err)
	case !admitted:
		wait := admitWait(d.Count)
		w.Log.Warn("a batch can't be begun; it comes again", "run", batch.GetRunId(), "batch", batch.GetBatch(), "provider", batch.GetProvider(),
			"delivery", d.Count, "wait", wait, "error", err)
		return w.handBack(ctx, d, batch, wait, err)
	}
	return err
}

const (
	// admitFirst is how long a batch rests that could not be begun. It doubles up to admitMost.
	admitFirst = 2 * time.Second
	admitMost  = time.Minute
)

// admitWait is how long a batch rests that could not be begun at its count-th delivery.
func admitWait(count uint64) time.Duration {
	wait := admitFirst
	for ; count > 1 && wait < admitMost; count-- {
		wait *= 2
	}
	return min(wait, admitMost)
}

var (
	// errRefused means that nothing of the message may run: its run is closed, or has a newer attempt.
	errRefused  = errors.New("the run does not accept this attempt")
	errStopping = errors.New("the service is stopping")
	// errRest means that some items were not begun.
	errRest = errors.New("the rest of the batch was not begun")
	// errUnwritten means that what items came to could not be written for too long. Their handlers will be called again.
	errUnwritten = errors.New("outcomes could not be written for too long")
)

// admit decides whether a batch may run, and gathers what running it takes. It returns nil when there is nothing left to do.
func (w *Worker) admit(ctx context.Context, lane wire.Lane, d *bus.Delivery, batch *eventsv1.ItemBatch) (*job, error) {
	runID, err := uuid.Parse(batch.GetRunId())
	if err != nil {
		return nil, errRefused
	}
	run, err := w.Store.RunAccepts(ctx, runID)
	if postgres.NotFound(err) {
		return nil, errRefused
	}
	if err != nil {
		return nil, fmt.Errorf("ask whether run %s goes on: %w", runID, err)
	}
	took := w.Metrics.items.WithLabelValues(batch.GetProvider())
	j := &job{work: work{worker: w, batch: batch, lane: lane, took: took}, delivery: d}
	if err := j.locate(ctx); err != nil {
		return nil, err
	}
	if !j.outcomes.accepts(run) {
		return nil, errRefused
	}
	if j.cell, err = w.Checkpoints.Cell(ctx, keyOf(batch)); err != nil {
		return nil, err
	}
	batch.FirstAt, batch.ParkedAt = timestamppb.New(unpaused(batch, w.Now())), nil
	if err := j.buryUnstorable(ctx); err != nil {
		return nil, err
	}
	if run.Status != "active" {
		return nil, j.park(ctx)
	}
	integrationID, err := uuid.Parse(batch.GetIntegrationId())
	if err != nil {
		return nil, errRefused
	}
	j.in, err = w.Integrations.Load(ctx, integrationID, run.Version)
	switch {
	case postgres.Unavailable(err):
		return nil, err
	case err != nil:
		// The credentials can't be opened, for example. The items wait until somebody mends that.
		if w.unloaded.begins(batch.GetIntegrationId(), w.Now()) {
			w.Log.Error("an integration can't be loaded; its items wait", "integration", integrationID, "provider", batch.GetProvider(), "error", err)
		}
		return nil, j.putOffAll(ctx, err)
	}
	j.provider, err = w.Registry.Provider(batch.GetProvider())
	return j, err
}

// locate finds where the outcomes of the job are kept: in its entry, or in the row of the dead item that the batch brings.
// That row must still be under retry.
func (j *job) locate(ctx context.Context) error {
	j.keep(inEntry{ofRun{j}})
	if j.batch.GetDeadItemId() == "" {
		return nil
	}
	id, err := uuid.Parse(j.batch.GetDeadItemId())
	if err != nil {
		return errRefused
	}
	row, err := j.worker.Store.DeadRedriveState(ctx, id)
	if postgres.NotFound(err) {
		return errRefused
	}
	if err != nil {
		return fmt.Errorf("read dead item %s: %w", id, err)
	}
	if row.Status != "redriving" || j.batch.GetItems()[0].GetHop() < row.Hop {
		return errRefused
	}
	j.keep(inRow{ofRun{j}, id})
	return nil
}

// keep has the outcomes of the job kept in a place.
func (j *job) keep(in outcomes) { j.outcomes, j.origin = in, in }

// handBack returns a batch to the stream. The entry notes that this delivery was no failure, so that it does not count towards careful mode.
func (w *Worker) handBack(ctx context.Context, d *bus.Delivery, batch *eventsv1.ItemBatch, delay time.Duration, why error) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if _, err := w.Checkpoints.Merge(ctx, keyOf(batch), &eventsv1.Entry{ProgressAtDelivery: d.Count}); err != nil {
		w.Log.Debug("hand-back not noted", "key", keyOf(batch), "error", err)
	}
	return bus.Again(delay, why.Error())
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

func keyOf(batch *eventsv1.ItemBatch) checkpoint.Key {
	first := batch.GetItems()[0]
	key := checkpoint.Key{Run: batch.GetRunId(), Attempt: batch.GetAttempt(), Batch: batch.GetBatch(), Index: checkpoint.First}
	if first.GetHop() > 0 {
		key.Index = first.GetIndex()
	}
	return key
}
