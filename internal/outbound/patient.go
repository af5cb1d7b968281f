package outbound

import (
	"context"
	"net/http"
	"time"

	"github.com/tributaryhq/tributary/internal/deferral"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// lookAgain is how often a request that waits in place checks whether its cause has ended early.
const lookAgain = 5 * time.Second

// Patience lets the requests of work that would lose its place wait where they are, instead of being deferred.
type Patience struct {
	// Most is how long one request may wait in all; what has to wait for longer is deferred.
	Most time.Duration
	// Bounds are those of each wait.
	Bounds deferral.Bounds
	// Waits is called when a request begins to wait, and again when the end of its wait has moved. It returns what is
	// called when the request goes on; false means that it may not wait here.
	Waits func(until time.Time, why error) (goesOn func(), ok bool)
}

type patienceKey struct{}

// WithPatience returns a context whose requests wait in place.
func WithPatience(ctx context.Context, p *Patience) context.Context {
	return context.WithValue(ctx, patienceKey{}, p)
}

// patient waits out what the layers below would have deferred: a budget, a circuit, a token, an upstream's own wish. A
// request with an idempotency key does not wait: the key is reserved for a while only.
type patient struct {
	next http.RoundTripper
	now  func() time.Time
	// integration returns the integration with its newest token.
	integration func() *contracts.Integration
	// lifted returns a number that changes when an operator lifts what the upstream has asked for.
	lifted func() uint64
}

// moment is what ends waits early, as it is at one time. Two moments are compared.
type moment struct {
	integration *contracts.Integration
	lifted      uint64
}

func (p *patient) moment() moment { return moment{integration: p.integration(), lifted: p.lifted()} }

func (p *patient) RoundTrip(req *http.Request) (*http.Response, error) {
	patience, ok := req.Context().Value(patienceKey{}).(*Patience)
	call := callOf(req)
	if !ok || call.key != "" {
		return p.next.RoundTrip(req)
	}
	w := waiting{Patience: patience, began: p.now()}
	defer func() { w.goOn() }()
	for {
		before := p.moment()
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
		cause := deferral.CauseOf(err)
		if cause != deferral.Budget && cause != deferral.Circuit {
			call.attempt++
			w.deferrals++
		}
		if err := p.sleep(req.Context(), wait, cause, before); err != nil {
			return nil, err
		}
		req = next
	}
}

// sleep waits until the time is over or the cause may have ended. A budget and a circuit know only when they are
// asked, by the request itself. The others are compared with what they were before the request was sent, because to
// ask would cost the upstream or its budget a request.
func (p *patient) sleep(ctx context.Context, wait time.Duration, cause deferral.Cause, before moment) error {
	for wait > 0 {
		slice := min(wait, lookAgain)
		if err := sleep(ctx, slice); err != nil {
			return err
		}
		wait -= slice
		now := p.moment()
		switch cause {
		case deferral.Budget, deferral.Circuit:
			return nil
		case deferral.Token:
			if now.integration != before.integration {
				return nil
			}
		default:
			if now.lifted != before.lifted {
				return nil
			}
		}
	}
	return nil
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
