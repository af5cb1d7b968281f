package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/tributaryhq/tributary/internal/panics"
)

const (
	// pullExpiry is short so that a stopping service waits no longer than this for its open pull, and because pulls that wait don't notice
	// that a paused consumer has been resumed.
	pullExpiry = time.Second
	// gatherTime is how long a free slot waits for others before the next pull.
	gatherTime = time.Millisecond
	// lastWords is how long handlers have to return once their context has ended.
	lastWords = time.Second
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
	// Sequence is the message's place in the stream. A stream that was made anew, or that went back, gives places out again: with Stored it names one message.
	Sequence uint64
	// Stored is when the broker took the message.
	Stored time.Time
	// Stopping is closed when the service stops: hand back what need not be finished.
	Stopping <-chan struct{}
	slots    chan struct{}
	of       *consuming
}

// StepAside gives the slot of a message that only waits to others. What it returns takes a slot again, and waits for it.
func (d *Delivery) StepAside() (comeBack func()) {
	<-d.slots
	d.of.stepAside(1)
	return func() {
		d.slots <- struct{}{}
		d.of.stepAside(-1)
	}
}

// Crowded says that messages in work hold every slot, so that no other message can begin before one of them gives its
// slot away.
func (d *Delivery) Crowded() bool { return d.of.crowded() }

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

// Consume works off a durable consumer until ctx ends; then it takes nothing more, lets the handlers finish within their grace, and returns nil.
// It survives restarts of the broker.
func (b *Bus) Consume(ctx context.Context, c Consumption) error {
	slots := make(chan struct{}, max(c.Slots, 1))
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	var handlers sync.WaitGroup
	defer b.drain(ctx, c.Consumer.Durable, c.Grace, stopWork, &handlers)
	consumer, err := b.consumer(ctx, c)
	// A survey would take a consumer that is still to be made for one that is gone.
	state, forget := b.consumes(c)
	defer forget()
	for ; ; consumer, err = b.consumer(ctx, c) {
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		for ctx.Err() == nil {
			taken := take(ctx, slots)
			if err := b.pull(ctx, work, consumer, state, slots, taken, &handlers); err != nil {
				b.log.Warn("pull failed, trying again", "consumer", c.Consumer.Durable, "error", err)
				_ = pause(ctx, retryEvery)
				// The consumer may be gone with the broker's store: look it up again.
				break
			}
		}
	}
}

// take waits until a slot is free, and takes those that are free by then; none when ctx has ended. Handlers that are quick
// free several at about the same time, and a pull for many costs hardly more than one for a single message: so take waits a moment for half of them.
func take(ctx context.Context, slots chan struct{}) int {
	taken := 0
	select {
	case slots <- struct{}{}:
		taken++
	case <-ctx.Done():
		return 0
	}
	enough := time.NewTimer(gatherTime)
	defer enough.Stop()
	for taken < (cap(slots)+1)/2 {
		select {
		case slots <- struct{}{}:
			taken++
			continue
		case <-enough.C:
		case <-ctx.Done():
		}
		break
	}
	for {
		select {
		case slots <- struct{}{}:
			taken++
		default:
			return taken
		}
	}
}

// mayPull waits while the consumption is held or the connection is broken; false when ctx has ended.
func (b *Bus) mayPull(ctx context.Context, c *consuming) bool {
	for ctx.Err() == nil {
		err := b.Ready()
		if err == nil && c.Hold != nil {
			err = c.Hold(ctx)
		}
		c.hold(err)
		if err == nil || b.nc.IsClosed() {
			return true
		}
		_ = pause(ctx, retryEvery)
	}
	return false
}

// pull asks for as many messages as slots were taken, and frees those that no message came for.
func (b *Bus) pull(ctx, work context.Context, consumer jetstream.Consumer, c *consuming, slots chan struct{}, taken int, handlers *sync.WaitGroup) error {
	defer func() {
		for range taken {
			<-slots
		}
	}()
	if !b.mayPull(ctx, c) {
		return nil
	}
	session := b.session(c.Stream)
	batch, err := consumer.Fetch(taken, jetstream.FetchMaxWait(pullExpiry))
	if err != nil {
		return err
	}
	for msg := range batch.Messages() {
		if ctx.Err() != nil {
			// The service stops, and the pull was still open. Later than any pull of this process ends, another process gets the message.
			b.refuse(msg)
			continue
		}
		taken--
		c.begin()
		handlers.Go(func() {
			defer func() { <-slots; c.end() }()
			b.handle(ctx, work, msg, session, c, slots)
		})
	}
	err = batch.Error()
	if errors.Is(err, nats.ErrTimeout) || errors.Is(err, jetstream.ErrNoMessages) {
		return nil
	}
	return err
}

func (b *Bus) handle(ctx, work context.Context, msg jetstream.Msg, session uint64, c *consuming, slots chan struct{}) {
	meta, err := msg.Metadata()
	if err != nil {
		b.log.Error("message without metadata", "subject", msg.Subject(), "error", err)
		return
	}
	work = propagation.TraceContext{}.Extract(work, carrier(msg.Headers()))
	work, span := b.tracer.Start(work, "process "+c.Consumer.Durable, trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithAttributes(attribute.String("messaging.system", "nats"), attribute.String("messaging.destination.name", msg.Subject())))
	defer span.End()
	work, stopBeat := context.WithCancel(work)
	defer stopBeat()
	b.histories.saw(meta.Stream, meta.Sequence.Stream)
	held := b.hold(msg, meta, session)
	go b.beat(work, held)
	err = c.handle(work, &Delivery{
		Subject: msg.Subject(), Header: msg.Headers(), Body: msg.Data(),
		Count: meta.NumDelivered, Sequence: meta.Sequence.Stream, Stored: meta.Timestamp, Stopping: ctx.Done(), slots: slots, of: c,
	})
	stopBeat()
	b.settle(ctx, held, span, err)
}

// settle acknowledges a message or hands it back, by what its handler returned.
func (b *Bus) settle(ctx context.Context, msg *held, span trace.Span, err error) {
	// A service that stops waits no longer for a broken connection than its handlers may.
	checking, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.timing.AckWait)
	defer cancel()
	if ctx.Err() != nil {
		checking, cancel = context.WithTimeout(checking, lastWords)
		defer cancel()
	}
	checked := msg.check(checking)
	var handBack *HandBack
	switch {
	case err == nil:
	case errors.As(err, &handBack):
		b.log.Debug("message handed back", "subject", msg.Subject(), "why", handBack.Why, "delay", handBack.Delay)
	default:
		span.RecordError(err)
		panics.Report(b.log, err, "subject", msg.Subject())
		b.log.Error("message failed, to be delivered again", "subject", msg.Subject(), "delivery", msg.meta.NumDelivered, "error", err)
		handBack = &HandBack{Delay: failedDelay}
	}
	switch {
	case errors.Is(checked, errGone):
		b.log.Warn("a message in work is not in the stream any more, it is neither acknowledged nor handed back", "subject", msg.Subject(),
			"sequence", msg.meta.Sequence.Stream)
		return
	case checked != nil:
		err = checked
	case handBack != nil:
		err = msg.NakWithDelay(handBack.Delay)
	default:
		err = msg.Ack()
	}
	if err != nil {
		b.log.Warn("acknowledgement not sent; the message will be delivered again", "subject", msg.Subject(), "error", err)
	}
}

// handle keeps a panic from ending the process for one message.
func (c Consumption) handle(ctx context.Context, d *Delivery) (err error) {
	defer panics.Catch(&err, "the handler")
	return c.Handle(ctx, d)
}

// refuse hands a message back that nothing was done with.
func (b *Bus) refuse(msg jetstream.Msg) {
	if err := msg.NakWithDelay(pullExpiry); err != nil {
		b.log.Debug("message not handed back; it will be delivered again", "subject", msg.Subject(), "error", err)
	}
}

// beat keeps the message from going to another while it is in work.
func (b *Bus) beat(ctx context.Context, msg *held) {
	ticker := time.NewTicker(b.timing.AckWait / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			err := msg.check(ctx)
			if errors.Is(err, errGone) {
				return
			}
			if err == nil {
				err = msg.InProgress()
			}
			if err != nil {
				b.log.Debug("ack deadline not extended", "subject", msg.Subject(), "error", err)
			}
		}
	}
}

// drain waits for the handlers, ends their contexts when the grace is over, and gives up on those that don't heed it: their messages will be delivered again.
func (b *Bus) drain(ctx context.Context, consumer string, grace time.Duration, stopWork context.CancelFunc, handlers *sync.WaitGroup) {
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
	}
	timer.Reset(lastWords)
	select {
	case <-done:
	case <-timer.C:
		b.log.Error("handlers go on although they were told to stop; their messages will be delivered again", "consumer", consumer)
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
