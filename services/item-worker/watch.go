package itemworker

import (
	"context"
	"time"
)

// watch leaves handlers behind that go on for longer than a grace after their time was up, or after the service has ended their contexts.
type watch struct {
	round *round
	timer *time.Timer
	// ended is closed when the contexts of all handlers end; nil once that was seen.
	ended <-chan struct{}
	// until is how long handlers may go on after that.
	until time.Time
}

func newWatch(r *round) *watch {
	w := &watch{round: r, ended: r.ctx.Done()}
	w.timer = time.NewTimer(w.patience())
	return w
}

// patience is how long a handler may take in all.
func (w *watch) patience() time.Duration {
	settings := w.round.work.worker.Settings
	return settings.Timeout + settings.Grace
}

// look is called when the timer fires.
func (w *watch) look() {
	now := time.Now()
	if !w.until.IsZero() && !now.Before(w.until) {
		w.round.leaveBehind(now, w.round.ctx.Err())
	} else {
		w.round.leaveBehind(now.Add(-w.patience()), context.DeadlineExceeded)
	}
	wait := time.Until(w.round.oldest().Add(w.patience()))
	if w.until.After(now) {
		wait = min(wait, time.Until(w.until))
	}
	w.timer.Reset(wait)
}

// hurry is called when the contexts have ended.
func (w *watch) hurry() {
	w.ended = nil
	w.until = time.Now().Add(w.round.work.worker.Settings.Grace)
	w.look()
}

func (w *watch) stop() { w.timer.Stop() }
