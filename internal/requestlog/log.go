// Package requestlog keeps a row for every attempt of a request that leaves: redacted, cut, and written in batches.
// Package outbound records its attempts here; package platform has the store.
package requestlog

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/tributaryhq/tributary/internal/watchdog"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

var (
	// ErrRowRefused is wrapped by the error of a [Store] that can reach its database, which will never take one of the
	// rows.
	ErrRowRefused = errors.New("the database refuses the row")

	errLogFull = errors.New("the request log can't be written, and nothing goes out that is not logged")
)

// Store is where the request log is written.
type Store interface {
	// InsertRequests writes all rows or none. Rows that are there already are no error.
	InsertRequests(ctx context.Context, rows []Row) error
}

// Settings are the numbers of a request log; [DefaultSettings] suit one process.
type Settings struct {
	// Rows is how many attempts may be under way or wait to be written; the next request waits for one of them.
	Rows int
	// BodyBytes is how much memory their bodies may take together; beyond it bodies are dropped.
	BodyBytes int64
	// Batch is how many rows are written at once, and Every how long the first of them waits for others.
	Batch int
	Every time.Duration
	// Patience is how long a request waits for room in the log; then it is deferred by Deferral.
	Patience, Deferral time.Duration
	// Grace is how long the last rows may take when the process stops.
	Grace time.Duration
	// MaxResponseBytes has larger answers replaced by a note of their size; 0 keeps the beginning of each.
	MaxResponseBytes int64
}

// DefaultSettings hold an outage of half a minute at 250 requests a second, in 64 MiB.
func DefaultSettings() Settings {
	return Settings{
		Rows: 8192, BodyBytes: 64 << 20, Batch: 500, Every: 200 * time.Millisecond, Patience: 10 * time.Second,
		Deferral: 30 * time.Second, Grace: 10 * time.Second,
	}
}

// Log writes one row for every attempt that leaves, in batches and off the request's path.
//
// Its memory is bounded. When bodies take too much of it, they are dropped, which the row says and a metric counts.
// Rows are not: when too many wait because the database is away, requests wait too, and after a while are deferred
// before they leave. What a killed process had not written yet is lost.
type Log struct {
	store    Store
	log      *slog.Logger
	metrics  *Metrics
	settings Settings

	// slots has an entry for every attempt between its admission and its row; queue those that are whole, and so never
	// blocks.
	slots chan struct{}
	queue chan *Attempt
	bytes atomic.Int64
}

// New returns a log, which writes nothing before [Log.Run] runs.
func New(store Store, settings Settings, metrics *Metrics, log *slog.Logger) *Log {
	return &Log{
		store: store, log: log, metrics: metrics, settings: settings, slots: make(chan struct{}, settings.Rows),
		queue: make(chan *Attempt, settings.Rows),
	}
}

// Admit waits for room for one more row.
func (l *Log) Admit(ctx context.Context) error {
	select {
	case l.slots <- struct{}{}:
		return nil
	default:
	}
	l.metrics.waits.Inc()
	timer := time.NewTimer(l.settings.Patience)
	defer timer.Stop()
	select {
	case l.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return contracts.RetryAfter(l.settings.Deferral, errLogFull)
	}
}

// hold reports whether there is memory for so many more bytes of bodies, and takes it.
func (l *Log) hold(n int) bool {
	if l.bytes.Add(int64(n)) <= l.settings.BodyBytes {
		return true
	}
	l.release(n)
	return false
}

func (l *Log) release(n int) { l.bytes.Add(-int64(n)) }

// Run writes until ctx ends, and then what is left. What can't be written by the end of the grace is said and counted.
func (l *Log) Run(ctx context.Context) {
	writing, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(l.settings.Grace, stop) })()
	for {
		batch := l.gather(ctx, writing)
		if len(batch) == 0 {
			break
		}
		l.write(writing, batch)
	}
	if lost := len(l.slots); lost > 0 {
		l.metrics.lost.Add(float64(lost))
		l.log.Error(
			"rows of the request log were lost: the database could not be reached before the process had to end",
			"rows", lost)
	}
}

// gather waits for a batch. None means that there is nothing more to write, or no time.
func (l *Log) gather(ctx, writing context.Context) (batch []*Attempt) {
	take := func(a *Attempt) { batch = append(batch, a) }
	// Once ctx has ended, attempts may still be under way; they are waited for, but not for long.
	stopping := ctx.Done()
	for len(batch) == 0 {
		if ctx.Err() != nil {
			if stopping = nil; len(l.slots) == 0 {
				return nil
			}
		}
		select {
		case a := <-l.queue:
			take(a)
		case <-stopping:
		case <-writing.Done():
			return nil
		}
	}
	timer := time.NewTimer(l.settings.Every)
	defer timer.Stop()
	for len(batch) < l.settings.Batch {
		select {
		case a := <-l.queue:
			take(a)
			continue
		default:
		}
		select {
		case a := <-l.queue:
			take(a)
		case <-timer.C:
			return batch
		case <-stopping:
			return batch
		case <-writing.Done():
			return batch
		}
	}
	return batch
}

// write renders and writes a batch, however long that takes, until writing ends.
func (l *Log) write(writing context.Context, batch []*Attempt) {
	rows := make([]Row, 0, len(batch))
	for _, a := range batch {
		row := a.row(l.settings.MaxResponseBytes)
		if row.BodiesDropped {
			l.metrics.dropped.Inc()
		}
		rows = append(rows, row)
	}
	if !l.insert(writing, rows) {
		return
	}
	for _, a := range batch {
		a.free()
		<-l.slots
	}
}

const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 5 * time.Second
)

// insert writes rows and tries again until it has; it reports whether it has. A row that the database refuses holds up
// no other.
func (l *Log) insert(writing context.Context, rows []Row) bool {
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		started := time.Now()
		err := watchdog.Step(writing, "write the request log", func(ctx context.Context) error {
			return l.store.InsertRequests(ctx, rows)
		})
		if err == nil {
			l.metrics.written(len(rows), time.Since(started))
			return true
		}
		if errors.Is(err, ErrRowRefused) {
			return l.insertRefused(writing, rows, err)
		}
		if wait == firstRetry {
			l.log.Warn("the request log can't be written, trying again", "rows", len(rows), "error", err)
		}
		select {
		case <-writing.Done():
			return false
		case <-time.After(wait):
		}
	}
}

// insertRefused finds the row that is refused by halves, and leaves out of it what the upstream has written.
func (l *Log) insertRefused(writing context.Context, rows []Row, cause error) bool {
	if half := len(rows) / 2; half > 0 {
		return l.insert(writing, rows[:half]) && l.insert(writing, rows[half:])
	}
	row := &rows[0]
	if row.BodiesDropped {
		l.metrics.lost.Inc()
		l.log.Error("a row of the request log is lost: the database refuses it", "request", row.ID, "error", cause)
		return true
	}
	row.RequestBody, row.ResponseBody, row.RequestHeader, row.ResponseHeader, row.Error, row.UpstreamID, row.Path,
		row.Query = "", "", "", "", "", "", "", ""
	row.BodiesDropped = true
	l.log.Warn("a row of the request log is written without bodies: the database refuses it", "request",
		row.ID, "error", cause)
	return l.insert(writing, rows)
}
