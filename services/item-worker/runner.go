package itemworker

import (
	"time"

	"github.com/tributaryhq/tributary/internal/panics"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// turnTime is how long a runner keeps its slot from one item to the next though others wait for it. So quick handlers pay for a slot once in many
// items, and a small batch waits no longer than this for a large one.
const turnTime = time.Millisecond

// runner is a goroutine that handles items of a round.
type runner struct {
	round *round
	// item is what it works on, nil between two.
	item    *eventsv1.Item
	context *itemContext
	// now is when it last took an item or finished one, seated when it last got its slot.
	now, seated time.Time
	// left says that it was left behind: its item has failed and its slot is another's.
	left bool
}

func (w *runner) run() {
	w.seated = w.now
	for w.next() && w.tell(handled{item: w.item, err: w.handle()}) {
		// The conditions do it all.
	}
}

// next takes an item; false sends the runner home.
func (w *runner) next() bool {
	r := w.round
	if w.now.Sub(w.seated) > turnTime && r.hasMore() {
		r.rise()
		if !r.sit() {
			r.mu.Lock()
			defer r.mu.Unlock()
			delete(r.runners, w)
			r.endIfIdle()
			return false
		}
		w.seated = time.Now()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.started == len(r.todo) || r.isHalted() {
		delete(r.runners, w)
		r.rise()
		r.endIfIdle()
		return false
	}
	if w.seated.After(w.now) {
		w.now = w.seated
	}
	w.item, w.context = r.todo[r.started], &r.contexts[r.started]
	w.context.begin(r.ctx, r.work, w.item, w.now.Add(r.work.worker.Settings.Timeout))
	r.started++
	return true
}

// handle calls the application's handlers, which may panic.
func (w *runner) handle() error {
	defer w.context.end()
	err := w.call()
	if err != nil {
		j := w.round.work
		panics.Report(j.worker.Log, err, "event", w.item.GetEventType(), "external_id", w.item.GetExternalId())
		err = j.worker.restart(w.round.ctx, err, attempted{
			in: j.in, event: w.item.GetEventType(), id: w.item.GetExternalId(), deferrals: w.item.GetDeferrals(), usage: &w.context.usage,
		})
	}
	return err
}

func (w *runner) call() (err error) {
	defer panics.Catch(&err, "the handler")
	j := w.round.work
	for _, handler := range j.worker.Handlers[w.item.GetEventType()] {
		if err := handler(w.context, j.in, w.item.GetPayload()); err != nil {
			return err
		}
	}
	return nil
}

// tell says what the item came to; false if the runner was left behind, and nobody listens.
func (w *runner) tell(came handled) bool {
	r, now := w.round, time.Now()
	r.work.took.Observe(now.Sub(w.now).Seconds())
	r.mu.Lock()
	defer r.mu.Unlock()
	if w.left {
		return false
	}
	r.note(came)
	w.item, w.now = nil, now
	return true
}
