package handling

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// Round has items handled side by side. Runners, goroutines that each hold a slot, take one item after the other. There
// are no more of them than help: handlers that wait for nothing are called in turn by few, handlers that wait by as
// many as there are slots.
type Round struct {
	work *Work
	ctx  context.Context
	// slots are those of the lane. They are nil if the caller holds a slot and the gate: then one item runs at a time.
	slots chan struct{}
	todo  []*eventsv1.Item
	// contexts are those of the handlers, by place in todo.
	contexts []itemContext
	// halted ends when no more items are to be started.
	halted context.Context
	Halt   context.CancelFunc
	// Over is closed when nothing is at work any more.
	Over chan struct{}

	took prometheus.Observer

	mu sync.Mutex
	// started is how many of todo were taken by a runner.
	started int
	runners map[*runner]struct{}
	// helpers is how many goroutines are at work beside the runners.
	helpers  int
	results  []Handled
	finished int
}

// Start starts handling items. Those without a handler are stored as records, together. A runner takes one of the
// slots; without slots the items run one after the other, and the caller holds the gate.
func (w *Work) Start(ctx context.Context, todo []*eventsv1.Item, slots chan struct{}) *Round {
	r := &Round{
		work: w, ctx: ctx, slots: slots, Over: make(chan struct{}), runners: map[*runner]struct{}{},
		took: w.Took.WithLabelValues(w.Batch.GetProvider()), results: make([]Handled, 0, len(todo)),
	}
	r.halted, r.Halt = context.WithCancel(ctx)
	var forSink []*eventsv1.Item
	for _, item := range todo {
		if len(w.Items[item.GetEventType()]) == 0 {
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
	go r.watch()
	return r
}

// Wait waits until the round is over, and returns all results.
func (r *Round) Wait() []Handled {
	defer r.Halt()
	<-r.Over
	return r.Take()
}

// help has f done beside the runners.
func (r *Round) help(f func()) {
	r.mu.Lock()
	r.helpers++
	r.mu.Unlock()
	go func() {
		defer r.dismiss()
		f()
	}()
}

func (r *Round) dismiss() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.helpers--
	r.endIfIdle()
}

// endIfIdle is called when somebody has left.
func (r *Round) endIfIdle() {
	if r.helpers == 0 && len(r.runners) == 0 {
		close(r.Over)
	}
}

// launch starts runners until there are enough. It lets each take what it can before it starts another.
func (r *Round) launch() {
	for r.lacksRunners() && r.acquire() {
		w := &runner{round: r, now: time.Now()}
		r.mu.Lock()
		r.runners[w] = struct{}{}
		r.mu.Unlock()
		go w.run()
		runtime.Gosched()
	}
}

func (r *Round) lacksRunners() bool {
	enough := max(cap(r.slots), 1)
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.started < len(r.todo) && len(r.runners) < enough
}

func (r *Round) hasMore() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.started < len(r.todo)
}

// store puts items without a handler into the records table.
func (r *Round) store(items []*eventsv1.Item) {
	if !r.acquire() {
		return
	}
	defer r.release()
	results := r.work.sink(r.ctx, items)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note(results...)
}

// acquire waits for a slot, and shares the process with others; false when the round was halted first.
func (r *Round) acquire() bool {
	if r.isHalted() {
		return false
	}
	if r.slots == nil {
		return true
	}
	select {
	case <-r.halted.Done():
		return false
	case r.slots <- struct{}{}:
		if !r.work.Gate.Beside(r.halted, nil) {
			<-r.slots
			return false
		}
		return true
	}
}

// isHalted reports whether nothing more may start. The context is asked too: while it ends, those that descend from it
// hear of that one after the other, and a handler may have heard it before the round.
func (r *Round) isHalted() bool { return r.halted.Err() != nil || r.ctx.Err() != nil }

// release frees the slot.
func (r *Round) release() {
	if r.slots != nil {
		r.work.Gate.Release()
		<-r.slots
	}
}

// note keeps results until they are taken.
func (r *Round) note(results ...Handled) {
	r.results = append(r.results, results...)
	r.finished += len(results)
}

// Take returns the results that were not taken before.
func (r *Round) Take() []Handled {
	r.mu.Lock()
	defer r.mu.Unlock()
	results := r.results
	r.results = nil
	return results
}

// IsWhole reports whether every one of n items has come to something.
func (r *Round) IsWhole(n int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.finished == n
}

// oldest is when the item was started that has been in work for the longest, and the present if none is.
func (r *Round) oldest() time.Time {
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

// leaveBehind gives up on handlers that were called at that time or earlier: their items have failed, and others take
// their slots.
func (r *Round) leaveBehind(called time.Time, why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for w := range r.runners {
		if w.item == nil || w.now.After(called) {
			continue
		}
		w.left = true
		r.note(Handled{Item: w.item, Err: fmt.Errorf("the handler did not return: %w", why)})
		r.release()
		delete(r.runners, w)
		r.helpers++
		go func() {
			defer r.dismiss()
			r.launch()
		}()
	}
}
