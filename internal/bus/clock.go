package bus

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	// clockFor is how long an answer about the broker's time serves.
	clockFor = 15 * time.Second
	// clockDrift is how far apart two clocks can get, in millionths: what kernels correct a clock by at most.
	clockDrift = 500
	// clockJump is by how much the wall clock and the running time may disagree before the machine is taken to have slept, or its clock to have been set.
	clockJump = 50 * time.Millisecond
)

// Clock knows the broker's time within bounds, however wrong this machine's clock is: it asks now and then, and goes by the time that has run
// since. A broker whose own clock is set, or that is replaced by one of a cluster with another time, is believed from the next answer on.
type Clock struct {
	bus    *Bus
	stream string

	mu     sync.Mutex
	sample sample
}

// sample is one answer, as it stood when it came.
type sample struct {
	received         time.Time
	earliest, latest time.Time
	reconnects       uint64
}

// Clock returns a clock by the broker that keeps a bucket.
func (b *Bus) Clock(bucket string) *Clock { return &Clock{bus: b, stream: bucketPrefix + bucket} }

// Bounds are the earliest and the latest that the broker's clock can show now; false means that nothing is known.
func (c *Clock) Bounds() (earliest, latest time.Time, known bool) {
	now := c.bus.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sample.bounds(now)
}

// Now is the broker's time as well as it is known: this machine's while it lies within the bounds of the last answer, else corrected to the middle of
// them. It follows the running time, so that it does not jump with this machine's clock. Before the first answer it is this machine's time.
func (c *Clock) Now() time.Time {
	now := c.bus.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sample.received.IsZero() {
		return now
	}
	return c.sample.received.Add(now.Sub(c.sample.received) + c.sample.offset())
}

// Skew is by how much this machine's clock was behind the broker's at the last answer; negative when it was ahead, and 0 within what can be told.
func (c *Clock) Skew() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sample.offset()
}

// offset is what this machine's clock lacks to the middle of the bounds, or 0 when it lies between them.
func (s sample) offset() time.Duration {
	wall := s.received.Round(0)
	if s.received.IsZero() || !wall.Before(s.earliest) && !wall.After(s.latest) {
		return 0
	}
	return s.earliest.Add(s.latest.Sub(s.earliest) / 2).Sub(wall)
}

func (s sample) bounds(now time.Time) (earliest, latest time.Time, known bool) {
	if s.received.IsZero() {
		return time.Time{}, time.Time{}, false
	}
	elapsed := now.Sub(s.received)
	if jump := now.Round(0).Sub(s.received.Round(0)) - elapsed; jump < -clockJump || jump > clockJump || elapsed < 0 {
		return time.Time{}, time.Time{}, false
	}
	drift := elapsed * clockDrift / 1e6
	return s.earliest.Add(elapsed - drift), s.latest.Add(elapsed + drift), true
}

// Refresh asks the broker, if that was not done lately.
func (c *Clock) Refresh(ctx context.Context) error {
	reconnects := c.bus.nc.Stats().Reconnects
	c.mu.Lock()
	last := c.sample
	c.mu.Unlock()
	sent := c.bus.now()
	if _, _, known := last.bounds(sent); known && last.reconnects == reconnects && sent.Sub(last.received) < clockFor {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, cellTimeout)
	defer cancel()
	stream, err := c.bus.js.Stream(ctx, c.stream)
	if err != nil {
		c.bus.Restore(ctx, err)
		return fmt.Errorf("ask the broker for the time: %w", err)
	}
	received := c.bus.now()
	told := stream.CachedInfo().TimeStamp
	// The answer was written at some moment between the two.
	next := sample{received: received, earliest: told, latest: told.Add(received.Sub(sent)), reconnects: reconnects}
	c.mu.Lock()
	defer c.mu.Unlock()
	// Both hold, unless the broker's clock was set: together they know more.
	if earliest, latest, known := c.sample.bounds(received); known && c.sample.reconnects == reconnects {
		both := next
		if earliest.After(both.earliest) {
			both.earliest = earliest
		}
		if latest.Before(both.latest) {
			both.latest = latest
		}
		if !both.latest.Before(both.earliest) {
			next = both
		}
	}
	c.sample = next
	return nil
}
