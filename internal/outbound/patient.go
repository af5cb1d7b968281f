package outbound

import (
	"context"
	"net/http"
	"time"

	"github.com/tributaryhq/tributary/internal/deferral"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// lookAgain is how often a request that waits in place for a budget or a circuit asks again: these may come back early.
const lookAgain = 5 * time.Second

// Patience lets the requests of work that would lose its place wait where they are, instead of being deferred.
type Patience struct {
	// Most is how long one request may wait in all; what has to wait for longer is deferred.
	Most time.Duration
	// Bounds are those of each wait.
	Bounds deferral.Bounds
	// Waits is called when a request begins to wait, and again when the end of its wait has moved. It returns what is called when the request goes on; false means that
	// it may not wait here.
	Waits func(until time.Time, why error) (goesOn func(), ok bool)
}

type patienceKey struct{}

// WithPatience returns a context whose requests wait in place.
func WithPatience(ctx context.Context, p *Patience) context.Context {
	return context.WithValue(ctx, patienceKey{}, p)
}

// patient waits out what the layers below would have deferred: a budget, a circuit, a token, an upstream's own wish. A request with an idempotency key does not wait: the key
// is reserved for a while only.
type patient struct {
	next http.RoundTripper
	now  func() time.Time
}

func (p *patient) RoundTrip(req *http.Request) (*http.Response, error) {
	patience, ok := req.Context().Value(patienceKey{}).(*Patience)
	call := callOf(req)
	if !ok || call.key != "" {
		return p.next.RoundTrip(req)
	}
	w := waiting{Patience: patience, began: p.now()}
	defer func() { w.goOn() }()
	for {
		res, err := p.next.RoundTrip(req)
		asks, deferred := contracts.AsDeferral(err)
		if !deferred || contracts.IsPermanent(err) || !canRewind(req) {
			return res, err
		}
		now := p.now()
		wait, may := w.begin(now, asks.Delay, err)
		if !may || !endsBefore(req.Context(), wait) {
			return res, err
		}
		next, unread := rewound(req)
		if unread != nil {
			return res, err
		}
		switch deferral.CauseOf(err) {
		case deferral.Budget, deferral.Circuit:
			wait = min(wait, lookAgain)
		default:
			call.attempt++
			w.deferrals++
		}
		if err := sleep(req.Context(), wait); err != nil {
			return nil, err
		}
		req = next
	}
}

// waiting is one request that waits, perhaps several times.
type waiting struct {
	*Patience
	began     time.Time
	deferrals int
	until     time.Time
	goesOn    func()
}

// begin is how long the next wait is, if the request may wait for it.
func (w *waiting) begin(now time.Time, asked time.Duration, why error) (time.Duration, bool) {
	wait, cut := w.Bounds.Of(asked, w.deferrals)
	until := now.Add(wait)
	if cut || until.Sub(w.began) > w.Most {
		return 0, false
	}
	if moved := until.Sub(w.until).Abs(); w.goesOn != nil && moved <= time.Second {
		return wait, true
	}
	goesOn, ok := w.Waits(until, why)
	if !ok {
		return 0, false
	}
	w.goOn()
	w.until, w.goesOn = until, goesOn
	return wait, true
}

// goOn tells that the request does not wait any more.
func (w *waiting) goOn() {
	if w.goesOn != nil {
		w.goesOn()
		w.goesOn = nil
	}
}
