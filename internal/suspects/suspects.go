// Package suspects lets work that may end its process run alone in it, so that nothing else is charged when the process
// ends. The item-worker, the webhooks and the scheduler use it.
package suspects

import (
	"context"
	"errors"
	"math"

	"golang.org/x/sync/semaphore"
)

// ErrDeadly is why work is dead that was alone in its process each time when that ended.
var ErrDeadly = errors.New("the process died each time while this item was the only one running")

// all is more than can run at a time.
const all = math.MaxInt32

// Gate is held shared by work that runs beside other work, and exclusively by a suspect. While a suspect waits, nothing
// else begins.
type Gate struct{ running *semaphore.Weighted }

// NewGate returns a gate that is free.
func NewGate() Gate { return Gate{running: semaphore.NewWeighted(all)} }

// Alone waits until nothing else runs in this process, and reports whether it acquired the gate. It gives up when ctx
// ends or stopping is closed.
func (g Gate) Alone(ctx context.Context, stopping <-chan struct{}) bool {
	return g.acquire(ctx, stopping, all)
}

// ReleaseAlone releases what Alone acquired.
func (g Gate) ReleaseAlone() { g.running.Release(all) }

// Beside waits until no suspect runs in this process, and reports whether it acquired the gate shared. It gives up as
// Alone does.
func (g Gate) Beside(ctx context.Context, stopping <-chan struct{}) bool {
	return g.acquire(ctx, stopping, 1)
}

// Release releases what Beside acquired.
func (g Gate) Release() { g.running.Release(1) }

func (g Gate) acquire(ctx context.Context, stopping <-chan struct{}, weight int64) bool {
	if g.running.TryAcquire(weight) {
		return true
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-stopping:
			cancel()
		case <-ctx.Done():
		}
	}()
	return g.running.Acquire(ctx, weight) == nil
}
