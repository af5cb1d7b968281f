package itemworker

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"

	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// round has items of one batch handled side by side. Runners, goroutines that each hold a slot of the lane, take one item after the other. There
// are no more of them than help: handlers that wait for nothing are called in turn by few, handlers that wait by as many as there are slots.
type round struct {
	work  *work
	ctx   context.Context
	slots chan struct{}
	// alone says that nothing else runs in the process, and that no slot is needed.
	alone bool
	todo  []*eventsv1.Item
	// contexts are those of the handlers, by place in todo.
	contexts []itemContext
	// halted ends when no more items are to be started.
	halted context.Context
	halt   context.CancelFunc
	// over is closed when nothing is at work any more.
	over chan struct{}

	mu sync.Mutex
	// started is how many of todo were taken by a runner.
	started int
	runners map[*runner]struct{}
	// helpers is how many goroutines are at work beside the runners.
	helpers  int
	results  []handled
	finished int
}

// newRound starts items; those without a handler go to the sink together.
func newRound(ctx context.Context, w *work, todo []*eventsv1.Item, alone bool) *round {
	r := &round{
		work: w, ctx: ctx, slots: w.worker.slots[w.lane], alone: alone, over: make(chan struct{}), runners: map[*runner]struct{}{},
		results: make([]handled, 0, len(todo)),
	}
	r.halted, r.halt = context.WithCancel(ctx)
	var forSink []*eventsv1.Item
	for _, item := range todo {
		if len(w.worker.Handlers[item.GetEventType()]) == 0 {
			forSink = append(forSink, item)
		} else {
			r.todo = append(r.todo, item)
		}
	}
	r.contexts = make([]itemContext, len(r.todo))
	r.help(func() {
		r.launch()
		if len(forSink) > 0 {
			r.store(forSink)
		}
	})
	return r
}

// settle waits until the round is over, and returns all results.
func (r *round) settle() []handled {
	defer r.halt()
	w := newWatch(r)
	defer w.stop()
	for {
		select {
		case <-r.over:
			return r.take()
		case <-w.timer.C:
			w.look()
		case <-w.ended:
			w.hurry()
		}
	}
}

// help has f done beside the runners.
func (r *round) help(f func()) {
	r.mu.Lock()
	r.helpers++
	r.mu.Unlock()
	go func() {
		defer r.dismiss()
		f()
	}()
}

func (r *round) dismiss() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.helpers--
	r.endIfIdle()
}

// endIfIdle is called when somebody has left.
func (r *round) endIfIdle() {
	if r.helpers == 0 && len(r.runners) == 0 {
		close(r.over)
	}
}

// launch starts runners until there are enough. It lets each take what it can before it starts another.
func (r *round) launch() {
	for r.lacksRunners() && r.sit() {
		w := &runner{round: r, now: time.Now()}
		r.mu.Lock()
		r.runners[w] = struct{}{}
		r.mu.Unlock()
		go w.run()
		runtime.Gosched()
	}
}

func (r *round) lacksRunners() bool {
	enough := cap(r.slots)
	if r.alone {
		enough = 1
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.started < len(r.todo) && len(r.runners) < enough
}

func (r *round) hasMore() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.started < len(r.todo)
}

// store puts items without a handler into the records table.
func (r *round) store(items []*eventsv1.Item) {
	if !r.sit() {
		return
	}
	defer r.rise()
	results := r.work.sink(r.ctx, items)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note(results...)
}

// sit waits for a slot, and shares the process with others; false when the round was halted first.
func (r *round) sit() bool {
	if r.isHalted() {
		return false
	}
	if r.alone {
		return true
	}
	select {
	case <-r.halted.Done():
		return false
	case r.slots <- struct{}{}:
		r.work.worker.alone.RLock()
		return true
	}
}

// isHalted reports whether nothing more may start. The context is asked too: while it ends, those that descend from it
// hear of that one after the other, and a handler may have heard it before the round.
func (r *round) isHalted() bool { return r.halted.Err() != nil || r.ctx.Err() != nil }

// rise frees the slot.
func (r *round) rise() {
	if !r.alone {
		r.work.worker.alone.RUnlock()
		<-r.slots
	}
}

// note keeps results until they are taken.
func (r *round) note(results ...handled) {
	r.results = append(r.results, results...)
	r.finished += len(results)
}

// take returns the results that were not taken before.
func (r *round) take() []handled {
	r.mu.Lock()
	defer r.mu.Unlock()
	results := r.results
	r.results = nil
	return results
}

// isWhole reports whether every one of n items has come to something.
func (r *round) isWhole(n int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.finished == n
}

// oldest is when the item was started that has been in work for the longest, and the present if none is.
func (r *round) oldest() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	oldest := time.Now()
	for w := range r.runners {
		if w.item != nil && w.now.Before(oldest) {
			oldest = w.now
		}
	}
	return oldest
}

// leaveBehind gives up on handlers that were called at that time or earlier: their items have failed, and others take their slots.
func (r *round) leaveBehind(called time.Time, why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for w := range r.runners {
		if w.item == nil || w.now.After(called) {
			continue
		}
		w.left = true
		r.note(handled{item: w.item, err: fmt.Errorf("the handler did not return: %w", why)})
		r.rise()
		delete(r.runners, w)
		r.helpers++
		go func() {
			defer r.dismiss()
			r.launch()
		}()
	}
}
