package handling

import (
	"context"
	"time"

	"github.com/tributaryhq/tributary/internal/panics"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// turnTime is how long a runner keeps its slot from one item to the next though others wait for it. So quick handlers
// pay for a slot once in many items, and a small batch waits no longer than this for a large one.
const turnTime = time.Millisecond

// runner is a goroutine that handles items of a round.
type runner struct {
	round *Round
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
	for w.next() && w.report(Handled{Item: w.item, Err: w.handle()}) {
		// The conditions do it all.
	}
}

// next takes an item; false sends the runner home.
func (w *runner) next() bool {
	r := w.round
	if w.now.Sub(w.seated) > turnTime && r.hasMore() {
		r.release()
		if !r.acquire() {
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
		r.release()
		r.endIfIdle()
		return false
	}
	if w.seated.After(w.now) {
		w.now = w.seated
	}
	w.item, w.context = r.todo[r.started], &r.contexts[r.started]
	w.context.begin(r.ctx, r.work, w.item, w.now.Add(r.work.Settings.Timeout))
	r.started++
	return true
}

// handle calls the application's handlers, which may panic.
func (w *runner) handle() error {
	defer w.context.end()
	err := w.call()
	if err != nil {
		work := w.round.work
		panics.Report(work.Log, err, "event", w.item.GetEventType(), "external_id", w.item.GetExternalId())
		err = work.Restart(w.round.ctx, err, Try{
			In: work.In, Event: w.item.GetEventType(), ID: w.item.GetExternalId(), Deferrals: w.item.GetDeferrals(),
			Usage: &w.context.usage,
		})
	}
	return err
}

func (w *runner) call() (err error) {
	defer panics.Catch(&err, "the handler")
	work := w.round.work
	for _, handler := range work.Items[w.item.GetEventType()] {
		if err := handler(w.context, work.In, w.item.GetPayload()); err != nil {
			return err
		}
	}
	return nil
}

// report records the result of the item. It returns false if the runner was left behind: the item has a result already.
func (w *runner) report(result Handled) bool {
	r, now := w.round, time.Now()
	r.took.Observe(now.Sub(w.now).Seconds())
	r.mu.Lock()
	defer r.mu.Unlock()
	if w.left {
		return false
	}
	r.note(result)
	w.item, w.now = nil, now
	return true
}

// watch leaves handlers behind, until the round is over: those that go on for longer than the grace after their time
// was up, or after the service has ended their contexts.
func (r *Round) watch() {
	patience := r.work.Settings.Timeout + r.work.Settings.Grace
	timer := time.NewTimer(patience)
	defer timer.Stop()
	ended := r.ctx.Done()
	var until time.Time // of the grace, once the contexts have ended
	for {
		select {
		case <-r.Over:
			return
		case <-ended:
			ended, until = nil, time.Now().Add(r.work.Settings.Grace)
		case <-timer.C:
		}
		now := time.Now()
		if !until.IsZero() && !now.Before(until) {
			r.leaveBehind(now, r.ctx.Err())
		} else {
			r.leaveBehind(now.Add(-patience), context.DeadlineExceeded)
		}
		wait := time.Until(r.oldest().Add(patience))
		if until.After(now) {
			wait = min(wait, time.Until(until))
		}
		timer.Reset(wait)
	}
}
