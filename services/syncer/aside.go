package syncer

import (
	"context"
	"sync"
	"time"

	"github.com/tributaryhq/tributary/internal/bus"
)

// aside is the place of an enumeration that goes on without its slot: because its requests wait, which may do so side
// by side, or because others wait for a slot. The first reason gives the slot away, and the end of the last one takes
// one again.
type aside struct {
	places   chan struct{}
	delivery *bus.Delivery

	mu       sync.Mutex
	reasons  int
	comeBack func()
	// yielded is set while the slot is given to those who wait for one.
	yielded bool
	// since is when the enumeration got its slot.
	since time.Time
}

// enter is false when too many enumerations are without a slot already.
func (a *aside) enter() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.enterLocked()
}

func (a *aside) enterLocked() bool {
	if a.reasons == 0 {
		select {
		case a.places <- struct{}{}:
		default:
			return false
		}
		a.comeBack = a.delivery.StepAside()
	}
	a.reasons++
	return true
}

func (a *aside) leave() {
	a.mu.Lock()
	if a.reasons--; a.reasons > 0 {
		a.mu.Unlock()
		return
	}
	comeBack := a.comeBack
	a.mu.Unlock()
	comeBack()
	<-a.places
	a.mu.Lock()
	defer a.mu.Unlock()
	a.since = time.Now()
}

// yield gives the slot away if the enumeration has had it for a turn and no other can begin; what it does until its
// next batch, it does without one.
func (a *aside) yield(turn time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.yielded && a.reasons == 0 && time.Since(a.since) >= turn && a.delivery.Crowded() {
		a.yielded = a.enterLocked()
	}
}

// resume takes a slot again after a yield, and waits for it.
func (a *aside) resume() {
	a.mu.Lock()
	yielded := a.yielded
	a.yielded = false
	a.mu.Unlock()
	if yielded {
		a.leave()
	}
}

// takeTurns has the enumeration yield at each turn's end, until ctx ends. A provider that hangs yields too.
func (a *aside) takeTurns(ctx context.Context, turn time.Duration) {
	ticker := time.NewTicker(turn)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			a.yield(turn)
		}
	}
}
