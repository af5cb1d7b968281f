package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// consuming is a consumption while it runs, as the survey sees it.
type consuming struct {
	Consumption
	mu sync.Mutex
	// progress is when a message last came or a slot became free, or the consumption had nothing to do.
	progress time.Time
	// inWork is how many messages are in work, aside how many of them have given their slot away, and held why none are
	// asked for.
	inWork, aside int
	held          error
	// harmed is why the broker hands nothing out, by the last survey.
	harmed error
	// pending is how many messages wait in the stream, by the last survey.
	pending uint64
}

// consumes registers a consumption until the returned function is called.
func (b *Bus) consumes(c Consumption) (*consuming, func()) {
	one := &consuming{Consumption: c, progress: time.Now()}
	b.consumings.mu.Lock()
	defer b.consumings.mu.Unlock()
	if b.consumings.all == nil {
		b.consumings.all = map[*consuming]bool{}
	}
	b.consumings.all[one] = true
	return one, func() {
		b.consumings.mu.Lock()
		defer b.consumings.mu.Unlock()
		delete(b.consumings.all, one)
	}
}

// consumings are those of this process.
type consumings struct {
	mu  sync.Mutex
	all map[*consuming]bool
}

func (c *consumings) list() []*consuming {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]*consuming, 0, len(c.all))
	for one := range c.all {
		list = append(list, one)
	}
	return list
}

// begin and end are called around the work on a message.
func (c *consuming) begin() { c.move(1) }

func (c *consuming) end() { c.move(-1) }

func (c *consuming) move(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inWork += n
	c.progress = time.Now()
}

func (c *consuming) stepAside(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.aside += n
}

func (c *consuming) crowded() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.inWork-c.aside >= max(c.Slots, 1)
}

func (c *consuming) hold(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = err
}

// surveyed takes what the broker says of the consumer. While as many messages as may be are with processes, or are handed back for later, it is the broker that
// holds others back. harmed says why it hands nothing out.
func (c *consuming) surveyed(info *jetstream.ConsumerInfo, harmed error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.harmed = harmed
	most := info.Config.MaxAckPending
	if c.pending = info.NumPending; c.pending == 0 || most > 0 && info.NumAckPending >= most {
		c.progress = time.Now()
	}
}

// stalled says why nothing moves though messages wait and there is room for them; nil while all is well.
func (c *consuming) stalled(after time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	idle := time.Since(c.progress)
	switch {
	case c.pending == 0, c.inWork >= max(c.Slots, 1), idle < after:
		return nil
	case c.harmed != nil:
		return fmt.Errorf("%d messages wait for the consumer %s: %w", c.pending, c.Consumer.Durable, c.harmed)
	case c.held != nil:
		return fmt.Errorf("%d messages wait for the consumer %s, which takes none since %s: %w", c.pending, c.Consumer.Durable, idle.Round(time.Second), c.held)
	}
	return fmt.Errorf("%d messages wait for the consumer %s, and none has come for %s", c.pending, c.Consumer.Durable, idle.Round(time.Second))
}

// Moving returns an error while messages wait for a consumption of this process that has room, and none has come for so long.
func (b *Bus) Moving(after time.Duration) error {
	var problems []error
	for _, c := range b.consumings.list() {
		problems = append(problems, c.stalled(after))
	}
	return errors.Join(problems...)
}

// surveyConsumers makes consumers again that are gone, and sees how many messages wait for each.
func (b *Bus) surveyConsumers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, manageTimeout)
	defer cancel()
	var problems []error
	for _, c := range b.consumings.list() {
		consumer, err := b.js.Consumer(ctx, c.Stream, c.Consumer.Durable)
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			if consumer, err = b.js.CreateOrUpdateConsumer(ctx, c.Stream, c.Consumption.Consumer); err == nil {
				b.log.Warn("a consumer was gone and is made again; messages that were in work are delivered again", "consumer", c.Consumer.Durable)
			}
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("look at consumer %s: %w", c.Consumer.Durable, err))
			continue
		}
		c.surveyed(consumer.CachedInfo(), b.mendConsumer(ctx, c.Stream, c.Consumption.Consumer, consumer.CachedInfo()))
	}
	return errors.Join(problems...)
}
