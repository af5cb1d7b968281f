// Package fate decides what becomes of work after a try, from the error of the try, a policy and the work's history: it
// is done or skipped, tried again at a time, or dead. Items, webhooks and enumerations use it.
package fate

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/tributaryhq/tributary/internal/deferral"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/suspects"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// The reasons for which work is dead, as they are stored and shown.
const (
	Tries      = "tries used up"
	Permanent  = "permanent"
	Window     = "waited too long"
	Poison     = "killed its worker"
	TooLarge   = "too large"
	Unstorable = "can't be stored"
)

// Kind is what becomes of work.
type Kind int

// The kinds. Done work succeeded, skipped work needed none. Work again is tried at another time, and dead work is left
// to operators.
const (
	Done Kind = iota
	Skipped
	Again
	Dead
)

// Policy bounds the tries of one kind of work.
type Policy struct {
	// Tries is how often work may fail before it is dead.
	Tries int
	// Backoff is the wait after each failed try. The last one is repeated.
	Backoff []time.Duration
	// Waits bound how long deferred work waits.
	Waits deferral.Bounds
	// Window is how long after its begin work may be tried again.
	Window time.Duration
	// DeferralsOnly says that the window does not bound waits after failures.
	DeferralsOnly bool
}

// History is what happened to work before this try ended.
type History struct {
	// Tries is how many tries failed before this one, and Deferrals how often it was deferred in a row.
	Tries, Deferrals int
	// Age is how long ago the work's window began.
	Age time.Duration
}

// Fate is what becomes of work.
type Fate struct {
	Kind Kind
	// Reason is why the work is dead.
	Reason foreign.Text
	// Failed says that the try failed, and counts. A deferral does not count.
	Failed bool
	// Wait is how long the work waits for its next try. It is also set if there is none, for want of tries or of time.
	Wait time.Duration
	// Cause is what deferred work waits for.
	Cause deferral.Cause
	// Asked is for how long deferred work asked to wait, if that is longer than any wait may be.
	Asked time.Duration
}

// Of is the fate of work that handlers did, and that may be skipped.
func (p Policy) Of(err error, h History) Fate {
	_, skipped := contracts.AsSkip(err)
	switch {
	case err == nil:
		return Fate{Kind: Done}
	case skipped:
		return Fate{Kind: Skipped}
	case errors.Is(err, suspects.ErrDeadly):
		return Fate{Kind: Dead, Reason: Poison}
	case errors.Is(err, foreign.ErrUnstorable):
		return Fate{Kind: Dead, Reason: Unstorable}
	}
	return p.OfFailure(err, h)
}

// OfFailure is the fate of work that was not done. The work is tried again, unless its error is permanent, its tries
// are used up, or the next try would come after the end of its window.
func (p Policy) OfFailure(err error, h History) Fate {
	if contracts.IsPermanent(err) {
		return Fate{Kind: Dead, Reason: Permanent}
	}
	f := Fate{Kind: Again}
	if asks, deferred := contracts.AsDeferral(err); deferred {
		wait, cut := p.Waits.Of(asks.Delay, h.Deferrals)
		f.Wait, f.Cause = wait, deferral.CauseOf(err)
		if cut {
			f.Asked = asks.Delay
		}
	} else {
		f.Failed, f.Wait = true, p.Backoff[min(h.Tries+1, len(p.Backoff))-1]
		if h.Tries+1 >= p.Tries {
			f.Kind, f.Reason = Dead, Tries
			return f
		}
	}
	if h.Age+f.Wait > p.Window && !(f.Failed && p.DeferralsOnly) {
		f.Kind, f.Reason = Dead, Window
	}
	return f
}

// spread is the part of a wait by which [Spread] moves it.
const spread = 0.2

// Spread moves a wait by up to 20 % either way, because a burst of work that is due at one instant delays all of it.
func Spread(wait time.Duration) time.Duration {
	return time.Duration(float64(wait) * (1 - spread + 2*spread*rand.Float64()))
}
