package bus

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

const (
	// pullExpiry is short so that a stopping service waits no longer than this for its open pull, and because pulls that wait don't notice
	// that a paused consumer has been resumed.
	pullExpiry = time.Second
	// failedDelay is how long a message rests after its handler has failed.
	failedDelay = 2 * time.Second
)

// Consumption says what is consumed and how.
type Consumption struct {
	Stream   string
	Consumer jetstream.ConsumerConfig
	// Slots is how many messages are in work at a time.
	Slots int
	// Grace is how long handlers may go on after ctx has ended.
	Grace time.Duration
	// Hold, when set, is asked before every pull; the pull waits until it returns nil. It keeps a service that can't do its work from taking any.
	Hold func(context.Context) error
	// Handle does the work of one message and decides its fate: nil acknowledges, [Again] hands it back, any other error hands it back after
	// a short rest and is logged.
	Handle func(ctx context.Context, d *Delivery) error
}

// Delivery is a message in work. Its acknowledgement deadline is extended until the handler returns.
type Delivery struct {
	Subject string
	Header  nats.Header
	Body    []byte
	// Count is 1 at the first delivery.
	Count uint64
	// Sequence is the message's place in the stream.
	Sequence uint64
	// Stopping is closed when the service stops: hand back what need not be finished.
	Stopping <-chan struct{}
}

// HandBack is the error that returns a message to the stream.
type HandBack struct {
	Delay time.Duration
	Why   string
}

func (e *HandBack) Error() string { return fmt.Sprintf("handed back for %s: %s", e.Delay, e.Why) }

// Again hands a message back, to be delivered again after d, to this service or another of its kind. d is at least 100 ms: a bare refusal would burn deliveries in
// a loop.
func Again(d time.Duration, why string) error {
	return &HandBack{Delay: max(d, 100*time.Millisecond), Why: why}
}

// Consume works off a durable consumer until ctx ends; then it stops pulling, lets the handlers finish within their grace, and returns nil.
// It survives restarts of the broker.
func (b *Bus) Consume(ctx context.Context, c Consumption) error {
	slots := make(chan struct{}, c.Slots)
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	var handlers sync.WaitGroup
	defer b.drain(ctx, c.Grace, stopWork, &handlers)
	consumer, err := b.consumer(ctx, c)
	for ; ; consumer, err = b.consumer(ctx, c) {
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		for ctx.Err() == nil {
			if !b.waitForWork(ctx, c, slots) {
				return nil
			}
			if err := b.pull(ctx, work, consumer, c, slots, &handlers); err != nil {
				b.log.Warn("pull failed, trying again", "consumer", c.Consumer.Durable, "error", err)
				_ = pause(ctx, retryEvery)
				// The consumer may be gone with the broker's store: look it up again.
				break
			}
		}
	}
}

// waitForWork returns when a slot is free (and leaves it free) and nothing holds the consumption; false when ctx has ended.
func (b *Bus) waitForWork(ctx context.Context, c Consumption, slots chan struct{}) bool {
	select {
	case slots <- struct{}{}:
		<-slots
	case <-ctx.Done():
		return false
	}
	for c.Hold != nil {
		if c.Hold(ctx) == nil {
			break
		}
		if pause(ctx, retryEvery) != nil {
			return false
		}
	}
	return ctx.Err() == nil
}

func (b *Bus) pull(ctx, work context.Context, consumer jetstream.Consumer, c Consumption, slots chan struct{}, handlers *sync.WaitGroup) error {
	free := cap(slots) - len(slots)
	batch, err := consumer.Fetch(max(free, 1), jetstream.FetchMaxWait(pullExpiry))
	if err != nil {
		return err
	}
	for msg := range batch.Messages() {
		slots <- struct{}{}
		handlers.Go(func() {
			defer func() { <-slots }()
			b.handle(ctx, work, msg, c)
		})
	}
	err = batch.Error()
	if errors.Is(err, nats.ErrTimeout) || errors.Is(err, jetstream.ErrNoMessages) {
		return nil
	}
	return err
}

func (b *Bus) handle(ctx, work context.Context, msg jetstream.Msg, c Consumption) {
	meta, err := msg.Metadata()
	if err != nil {
		b.log.Error("message without metadata", "subject", msg.Subject(), "error", err)
		return
	}
	work = propagation.TraceContext{}.Extract(work, propagation.HeaderCarrier(msg.Headers()))
	work, span := b.tracer.Start(work, "process "+c.Consumer.Durable, trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithAttributes(attribute.String("messaging.system", "nats"), attribute.String("messaging.destination.name", msg.Subject())))
	defer span.End()
	work, stopBeat := context.WithCancel(work)
	defer stopBeat()
	go b.beat(work, msg)
	err = guard(func() error {
		return c.Handle(work, &Delivery{
			Subject: msg.Subject(), Header: msg.Headers(), Body: msg.Data(),
			Count: meta.NumDelivered, Sequence: meta.Sequence.Stream, Stopping: ctx.Done(),
		})
	})
	stopBeat()
	var handBack *HandBack
	switch {
	case err == nil:
		err = msg.Ack()
	case errors.As(err, &handBack):
		b.log.Debug("message handed back", "subject", msg.Subject(), "why", handBack.Why, "delay", handBack.Delay)
		err = msg.NakWithDelay(handBack.Delay)
	default:
		span.RecordError(err)
		b.log.Error("message failed, to be delivered again", "subject", msg.Subject(), "delivery", meta.NumDelivered, "error", err)
		err = msg.NakWithDelay(failedDelay)
	}
	if err != nil {
		b.log.Warn("acknowledgement not sent; the message will be delivered again", "subject", msg.Subject(), "error", err)
	}
}

// beat keeps the message from going to another while it is in work.
func (b *Bus) beat(ctx context.Context, msg jetstream.Msg) {
	ticker := time.NewTicker(b.timing.AckWait / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if err := msg.InProgress(); err != nil {
				b.log.Debug("ack deadline not extended", "subject", msg.Subject(), "error", err)
			}
		}
	}
}

// drain waits for the handlers, and stops their contexts when the grace is over.
func (b *Bus) drain(ctx context.Context, grace time.Duration, stopWork context.CancelFunc, handlers *sync.WaitGroup) {
	done := make(chan struct{})
	go func() {
		handlers.Wait()
		close(done)
	}()
	if ctx.Err() == nil {
		stopWork()
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		stopWork()
		<-done
	}
}

func (b *Bus) consumer(ctx context.Context, c Consumption) (consumer jetstream.Consumer, err error) {
	err = b.insist(ctx, "apply consumer "+c.Consumer.Durable, func(ctx context.Context) error {
		consumer, err = b.js.CreateOrUpdateConsumer(ctx, c.Stream, c.Consumer)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			// The broker came back without its store.
			if err := b.Apply(ctx); err != nil {
				return err
			}
			consumer, err = b.js.CreateOrUpdateConsumer(ctx, c.Stream, c.Consumer)
		}
		return err
	})
	return consumer, err
}

// guard turns a panic into an error, so that one message can't end the process.
func guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	return f()
}
