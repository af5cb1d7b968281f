// Package handling calls the application's handlers on items, side by side, and stores items without a handler as
// records. The item-worker uses it for batches, and webhookwork for the items that webhooks dispatch.
package handling

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/suspects"
	"github.com/tributaryhq/tributary/pkg/contracts"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// ItemHandler is the application's work on one item: payload is the event as JSON.
type ItemHandler func(ctx context.Context, in *contracts.Integration, payload []byte) error

// Settings are the times that calls have.
type Settings struct {
	// Timeout is how long one handler may take.
	Timeout time.Duration
	// AskTimeout is how long a provider's code may take that only computes, such as the type of a webhook.
	AskTimeout time.Duration
	// Grace is how long handlers may go on after their time, or after the service was told to stop.
	Grace time.Duration
}

// Config is what handlers are called with.
type Config struct {
	Store *postgres.Store
	// Items are the handlers by event type. Several run one after the other, and all must succeed.
	Items map[string][]ItemHandler
	Log   *slog.Logger
	// Took measures, by provider, how long the handlers of an item take.
	Took     *prometheus.HistogramVec
	Now      func() time.Time
	Crash    func(point string)
	Settings Settings
}

// Handlers are the handlers of a process, with what all their calls share.
type Handlers struct {
	Config
	// Gate is held shared by every item in work, and exclusively by a suspect.
	Gate suspects.Gate
	// lacks are the handlers that this worker lacks and that another one had.
	lacks Episodes[lack]
	// restarts are tries that used budgets up and did not end.
	restarts restarts
}

// New returns handlers that nobody has called yet.
func New(config Config) *Handlers { return &Handlers{Config: config, Gate: suspects.NewGate()} }

// Work is items of one integration, and what handling them takes.
type Work struct {
	*Handlers
	Batch    *eventsv1.ItemBatch
	In       *contracts.Integration
	Provider contracts.Provider
	Origin   Origin
}

// Origin is where items come from and where their outcomes are kept. It has three implementations: the entry of a
// batch in the bucket, the row of a dead item that is retried, and the row of a webhook.
type Origin interface {
	// MaxTries is after how many failed tries an item is dead, or its webhook has failed.
	MaxTries() int
	// IsWhole reports whether all items are handled again when one of them fails or waits.
	IsWhole() bool
	// Receive writes a receipt for items in the transaction that stores them, where outcomes need receipts.
	Receive(ctx context.Context, tx *postgres.Tx, items []*eventsv1.Item) error
	// Name names the origin of records in the event about them.
	Name(event *eventsv1.RecordsChanged)
}

// Handled is an item with what its handlers, or storing it as a record, returned.
type Handled struct {
	Item *eventsv1.Item
	Err  error
	// Received says that the receipt is written already.
	Received bool
}

// ErrStopping means that the service is told to stop.
var ErrStopping = errors.New("the service is stopping")

// restOfWork is how long work rests that can't begin, as while the database is away.
const restOfWork = 5 * time.Second

// PutOff has work wait for what it needs before a handler is called, such as its integration. That costs no try.
func PutOff(err error) error { return contracts.RetryAfter(restOfWork, err) }

// askGrace is how long a call may go on after its time, or after the worker was told to stop.
const askGrace = time.Second

// Ask calls a provider's code that only computes, and so is quick. A call that takes longer than [Settings.AskTimeout]
// is left behind: it must not write to what its caller reads.
func Ask[T any](ctx context.Context, h *Handlers, what string, f func() (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, h.Settings.AskTimeout)
	defer cancel()
	return panics.Within(ctx, askGrace, what, f)
}
