// Package bus is the only package that talks to JetStream: it applies streams, publishes with stable ids, consumes with
// acknowledgements that follow the work, and carries the trace through headers. Every service uses it.
package bus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/tributaryhq/tributary/internal/watchdog"
	"github.com/tributaryhq/tributary/internal/wire"
)

const (
	dialEvery     = time.Second
	manageTimeout = 5 * time.Second
	// bucketPrefix and bucketDuplicates are the client's conventions for the streams that buckets are.
	bucketPrefix     = "KV_"
	bucketDuplicates = 2 * time.Minute
)

// Options are what a bus needs beside its connection.
type Options struct {
	Log *slog.Logger
	// Tracer makes the spans of publications and deliveries; nil makes none.
	Tracer trace.Tracer
	// Timing is how long silence may last; the zero value means [wire.DefaultTiming].
	Timing wire.Timing
	// Replicas is 1 for one node, 3 for a cluster; 0 means 1.
	Replicas int
	// WebhookBacklog is how many bytes the stream of webhooks may hold; 0 means [wire.WebhookBacklog].
	WebhookBacklog int64
	// Now is the clock; nil means [time.Now].
	Now func() time.Time
}

// Bus speaks JetStream over one connection.
type Bus struct {
	nc       *nats.Conn
	js       jetstream.JetStream
	log      *slog.Logger
	tracer   trace.Tracer
	timing   wire.Timing
	replicas int
	backlog  int64
	now      func() time.Time
	// id names this process to the broker.
	id string
	// histories are what was seen of streams, and consumings what is consumed; missed has the next survey begin.
	histories  histories
	rooms      rooms
	consumings consumings
	missed     chan struct{}
	// surveyed counts the surveys.
	surveyed atomic.Int64
	// offers is for what many wait for at the same time.
	offers jetstream.JetStream
	// restoring is held by the one goroutine that makes what the broker has lost.
	restoring sync.Mutex
}

// New makes a bus of a connection, which stays the caller's to close.
func New(nc *nats.Conn, opts Options) (*Bus, error) {
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(manageTimeout))
	if err != nil {
		return nil, fmt.Errorf("use JetStream: %w", err)
	}
	offers, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(offersPending), jetstream.WithPublishAsyncTimeout(offerTimeout))
	if err != nil {
		return nil, fmt.Errorf("use JetStream: %w", err)
	}
	b := &Bus{
		nc: nc, js: js, log: opts.Log, tracer: opts.Tracer, timing: opts.Timing, replicas: max(opts.Replicas, 1), backlog: opts.WebhookBacklog, now: opts.Now, offers: offers,
		id: rand.Text(), missed: make(chan struct{}, 1),
	}
	if b.log == nil {
		b.log = slog.Default()
	}
	if b.tracer == nil {
		b.tracer = noop.NewTracerProvider().Tracer("")
	}
	if b.timing == (wire.Timing{}) {
		b.timing = wire.DefaultTiming()
	}
	if b.now == nil {
		b.now = time.Now
	}
	return b, nil
}

// Conn is the connection, for NATS micro.
func (b *Bus) Conn() *nats.Conn { return b.nc }

// Timing is how long silence may last.
func (b *Bus) Timing() wire.Timing { return b.timing }

// Ready returns an error while the broker can't be reached. [Bus.Storing] finds out more.
func (b *Bus) Ready() error {
	if b.nc.IsConnected() {
		return nil
	}
	return fmt.Errorf("NATS is %s", b.nc.Status())
}

// Log is where the bus logs, for what is built on it.
func (b *Bus) Log() *slog.Logger { return b.log }

// WhileConnected derives a context that also ends when the connection breaks. What must not outlive a connection, such as a watch, starts over then.
func (b *Bus) WhileConnected(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	broken := b.nc.StatusChanged(nats.DISCONNECTED, nats.RECONNECTING, nats.CLOSED)
	go func() {
		defer cancel()
		defer b.nc.RemoveStatusListener(broken)
		if !b.nc.IsConnected() {
			return
		}
		select {
		case <-broken:
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// Apply creates or updates all streams and buckets. Any number of processes may do so at once.
func (b *Bus) Apply(ctx context.Context) error {
	for _, config := range b.streams() {
		err := b.insist(ctx, "apply stream "+config.Name, func(ctx context.Context) error {
			return b.applyStream(ctx, config)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// applyStream creates a stream, which does nothing where it is as wanted, and updates it only where it is not: the broker (2.15.2) lets an update race
// with consumers that are created at the same time, as they are by every service that starts.
func (b *Bus) applyStream(ctx context.Context, config jetstream.StreamConfig) error {
	_, err := b.js.CreateStream(ctx, config)
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		_, err = b.js.UpdateStream(ctx, config)
	}
	return err
}

// Restore is called with the error of a call that failed and will be tried again. When it says that a stream or bucket is gone, as after the broker has lost part of its store,
// all are applied anew, by one caller at a time.
func (b *Bus) Restore(ctx context.Context, err error) {
	gone := errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, jetstream.ErrBucketNotFound) ||
		errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, nats.ErrStreamNotFound) || errors.Is(err, nats.ErrNoResponders)
	if !gone || !b.restoring.TryLock() {
		return
	}
	defer b.restoring.Unlock()
	// Without a leader nobody answers either; then this fails, and the caller goes on trying.
	ctx, cancel := context.WithTimeout(ctx, manageTimeout)
	defer cancel()
	if err := b.Apply(ctx); err != nil {
		b.log.Warn("streams could not be applied again", "error", err)
	}
	b.miss()
}

// bucketStream is the stream that a bucket is, as the client would make it, but with direct gets only where there is one copy. Of several any would answer, also one
// that lags behind, and what is read from our buckets decides things. The other way to get a value costs the broker four times as much.
func bucketStream(config jetstream.KeyValueConfig) jetstream.StreamConfig {
	duplicates := bucketDuplicates
	if config.TTL > 0 {
		duplicates = min(duplicates, config.TTL)
	}
	return jetstream.StreamConfig{
		Name:              bucketPrefix + config.Bucket,
		Description:       config.Description,
		Subjects:          []string{"$KV." + config.Bucket + ".>"},
		MaxMsgsPerSubject: 1,
		MaxAge:            config.TTL,
		Duplicates:        duplicates,
		Replicas:          config.Replicas,
		Discard:           jetstream.DiscardNew,
		DenyDelete:        true,
		AllowRollup:       true,
		AllowDirect:       config.Replicas <= 1,
	}
}

// Bucket opens a bucket that [Bus.Apply] made.
func (b *Bus) Bucket(ctx context.Context, name string) (jetstream.KeyValue, error) {
	var bucket jetstream.KeyValue
	err := b.insist(ctx, "open bucket "+name, func(ctx context.Context) (err error) {
		bucket, err = b.js.KeyValue(ctx, name)
		return err
	})
	return bucket, err
}

// Settled is the sequence up to which a consumer has acknowledged everything.
func (b *Bus) Settled(ctx context.Context, stream, consumer string) (uint64, error) {
	c, err := b.js.Consumer(ctx, stream, consumer)
	if err != nil {
		return 0, fmt.Errorf("look at consumer %s: %w", consumer, err)
	}
	return c.CachedInfo().AckFloor.Stream, nil
}

// Purge removes all messages of a stream under the filters.
func (b *Bus) Purge(ctx context.Context, stream string, filters ...string) error {
	for _, filter := range filters {
		err := b.insist(ctx, "purge "+filter, func(ctx context.Context) error {
			s, err := b.js.Stream(ctx, stream)
			if err != nil {
				return err
			}
			return s.Purge(ctx, jetstream.WithPurgeSubject(filter))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// PurgeKeys removes all keys of a bucket under a prefix, history included.
func (b *Bus) PurgeKeys(ctx context.Context, bucket, prefix string) error {
	return b.Purge(ctx, bucketPrefix+bucket, "$KV."+bucket+"."+prefix+".>")
}

// Holds reports whether a stream has any message under the filters, waiting, delivered or delayed. It finds one too that moves from a filter to another meanwhile,
// as a delayed one does when it is due: it looks under the first filters again after the last.
func (b *Bus) Holds(ctx context.Context, stream string, filters ...string) (bool, error) {
	for _, filter := range slices.Concat(filters, filters[:max(0, len(filters)-1)]) {
		found := false
		err := b.insist(ctx, "look for "+filter, func(ctx context.Context) error {
			s, err := b.js.Stream(ctx, stream)
			if err != nil {
				return err
			}
			_, err = s.GetLastMsgForSubject(ctx, filter)
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				return nil
			}
			found = err == nil
			return err
		})
		if err != nil || found {
			return found, err
		}
	}
	return false, nil
}

// insist calls a management operation until it succeeds, is refused for good, or ctx ends: during an election or a restart such
// calls time out.
func (b *Bus) insist(ctx context.Context, what string, call func(context.Context) error) error {
	for told := (time.Time{}); ; {
		callCtx, cancel := context.WithTimeout(ctx, manageTimeout)
		err := call(callCtx)
		cancel()
		if err == nil {
			watchdog.Alive(ctx)
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w", what, ctx.Err())
		}
		if !transient(err) {
			return fmt.Errorf("%s: %w", what, err)
		}
		if time.Since(told) >= insistTold {
			told = time.Now()
			b.log.Warn("NATS did not do what it was asked for, trying again", "what", what, "error", explained(err))
		}
		if err := b.rest(ctx); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
}

// insistTold is how often it is told that NATS still does not do what it is asked for.
const insistTold = 10 * time.Second

// noStorage is the broker's answer when a stream may have more bytes than it has room for.
const noStorage jetstream.ErrorCode = 10047

// explained adds what to do to an error that does not say it.
func explained(err error) error {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.ErrorCode == noStorage {
		return fmt.Errorf("%w: it has less room than --webhook-backlog asks for; lower that, or raise the max_file_store of NATS", err)
	}
	return err
}

// rest waits a moment, and for as long as the connection is broken.
func (b *Bus) rest(ctx context.Context) error {
	for {
		if err := pause(ctx, retryEvery); err != nil {
			return err
		}
		if b.nc.IsConnected() || b.nc.IsClosed() {
			return nil
		}
	}
}
