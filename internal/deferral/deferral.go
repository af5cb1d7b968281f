// Package deferral says for how long work is put off, and what it waits for: runs, items, webhooks and tokens alike.
package deferral

import (
	"errors"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// Bounds keep what is asked for within reason, whoever asks. [Default] has the values of production.
type Bounds struct {
	// Least is the shortest first wait. It doubles with each deferral that follows on another, up to LeastMost, so that work which asks for no wait again and
	// again is not repeated without end.
	Least, LeastMost time.Duration
	// Most is the longest wait. Upstreams that give a budget back do so within an hour; work that needs longer asks again then.
	Most time.Duration
}

// Default is a second that grows to a minute, and an hour.
func Default() Bounds {
	return Bounds{Least: time.Second, LeastMost: time.Minute, Most: time.Hour}
}

// Of is how long a deferral waits that asks for a time, the n-th after n others of the same work. cut says that it asked for more than the longest wait.
func (b Bounds) Of(asked time.Duration, n int) (wait time.Duration, cut bool) {
	least := min(b.Least<<min(max(n, 0), 20), b.LeastMost)
	return min(max(asked, least), b.Most), asked > b.Most
}

// Cause is what deferred work waits for. When that ends early, the work is woken.
type Cause string

// The causes, spelled as they are stored.
const (
	// None is that of work which failed and is tried again after a back-off, or which does not wait.
	None Cause = ""
	// Circuit is an open circuit.
	Circuit Cause = "circuit"
	// Budget is a request budget that is used up.
	Budget Cause = "budget"
	// Token is an access token that is not to be had now.
	Token Cause = "token"
	// Pause is an integration that is not active.
	Pause Cause = "pause"
	// Any stands for all causes where waits are ended; nothing waits for it. Clock does too, and for items that wait without a cause.
	Any   Cause = "any"
	Clock Cause = "clock"
	// Handler is a worker that has a handler for the event.
	Handler Cause = "handler"
	// Patience is what an upstream or the provider's code asks for.
	Patience Cause = "patience"
)

// ErrNoHandler is the cause of a deferral that waits for a worker with another build.
var ErrNoHandler = errors.New("this worker has no handler")

// CauseOf is what the work waits for that ended with err.
func CauseOf(err error) Cause {
	_, deferred := contracts.AsDeferral(err)
	switch {
	case !deferred:
		return None
	case errors.Is(err, contracts.ErrCircuitOpen):
		return Circuit
	case errors.Is(err, contracts.ErrBudgetExhausted):
		return Budget
	case errors.Is(err, contracts.ErrNoToken):
		return Token
	case errors.Is(err, ErrNoHandler):
		return Handler
	default:
		return Patience
	}
}
