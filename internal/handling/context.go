package handling

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/tributaryhq/tributary/internal/budget"
	"github.com/tributaryhq/tributary/pkg/contracts"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// itemContext is the context of a handler's work on one item: it has a deadline, knows its attempt, and ends when the
// handler returns. Most handlers are quick and never wait on it, so the timer and the channel that a context needs for
// that are made when somebody first asks.
type itemContext struct {
	context.Context
	work     *Work
	item     *eventsv1.Item
	try      int
	deadline time.Time
	// usage counts the requests of the handlers. Those of a webhook's items are counted with the webhook's own, in the
	// parent's usage.
	usage budget.Usage

	mu sync.Mutex
	// timed is a standard context with the same deadline, once somebody has asked for it.
	timed  context.Context
	cancel context.CancelFunc
	over   bool
}

// begin makes the context one for an item, that is over at the deadline.
func (c *itemContext) begin(parent context.Context, w *Work, item *eventsv1.Item, deadline time.Time) {
	// What becomes of the item changes its tries; a handler may ask for its attempt even later.
	c.Context, c.work, c.item, c.try, c.deadline = parent, w, item, int(item.GetTries())+1, deadline
}

// end cancels the context, as the handler has returned.
func (c *itemContext) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	if c.cancel != nil {
		c.cancel()
	}
}

func (c *itemContext) Deadline() (time.Time, bool) {
	if earlier, ok := c.Context.Deadline(); ok && earlier.Before(c.deadline) {
		return earlier, true
	}
	return c.deadline, true
}

func (c *itemContext) Done() <-chan struct{} { return c.standard().Done() }

func (c *itemContext) Err() error {
	c.mu.Lock()
	untouched := c.timed == nil && !c.over
	c.mu.Unlock()
	if untouched && c.Context.Err() == nil && time.Now().Before(c.deadline) {
		return nil
	}
	return c.standard().Err()
}

// Value also lets the standard library find the standard context, once there is one: contexts made of this one then end
// with it without a goroutine that waits for it.
func (c *itemContext) Value(key any) any {
	switch key.(type) {
	case contracts.AttemptKey:
		return c.attempt()
	case budget.UsageKey:
		if c.Context.Value(key) == nil {
			return &c.usage
		}
	}
	c.mu.Lock()
	timed := c.timed
	c.mu.Unlock()
	if timed != nil {
		return timed.Value(key)
	}
	return c.Context.Value(key)
}

func (c *itemContext) attempt() contracts.Attempt {
	batch := c.work.Batch
	id := append(make([]byte, 0, 64), batch.GetRunId()...)
	for _, n := range []int32{batch.GetAttempt(), batch.GetBatch(), c.item.GetIndex()} {
		id = strconv.AppendInt(append(id, '/'), int64(n), 10)
	}
	return contracts.Attempt{
		Run: batch.GetRunId(), Item: string(id), ExternalID: c.item.GetExternalId(), Try: c.try,
		MaxTries: c.work.Origin.MaxTries(),
	}
}

func (c *itemContext) standard() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timed == nil {
		c.timed, c.cancel = context.WithDeadline(c.Context, c.deadline)
		if c.over {
			c.cancel()
		}
	}
	return c.timed
}
