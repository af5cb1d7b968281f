package outbound

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/tributaryhq/tributary/internal/budget"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// limiter holds requests back until the budget allows them, and listens to what the upstream says about its own. What
// would have to wait for too long is a deferral.
type limiter struct {
	base    http.RoundTripper
	budgets *budget.Budgets
	target  Target
	metrics *RequestMetrics
	now     func() time.Time
	known   atomic.Pointer[budgetKey]
}

// budgetKey is the budget key of one state of an integration.
type budgetKey struct {
	in  *contracts.Integration
	key string
}

func (l *limiter) RoundTrip(req *http.Request) (*http.Response, error) {
	key := l.key()
	limit := l.target.limit(l.now())
	if err := l.budgets.Admit(req.Context(), key, limit); err != nil {
		closeBody(req)
		if _, deferred := contracts.AsDeferral(err); !deferred {
			return nil, &unsentError{err}
		}
		l.metrics.refused(l.target.Integration().Provider(), "budget")
		return nil, err
	}
	res, err := l.base.RoundTrip(req)
	if res != nil {
		l.budgets.Learn(req.Context(), key, limit, budget.ReportOf(l.target.Provider, res, l.now()))
	}
	return res, err
}

func (l *limiter) key() string {
	in := l.target.Integration()
	if have := l.known.Load(); have != nil && have.in == in {
		return have.key
	}
	next := &budgetKey{in: in, key: budget.Key(l.target.Provider, in)}
	l.known.Store(next)
	return next.key
}

// limit is the request budget that applies: an operator's, else the provider's; nil is unlimited.
func (t Target) limit(now time.Time) *contracts.RateLimit {
	if limit := t.Settings().limitAt(now); limit != nil {
		return limit
	}
	return budget.LimitOf(t.Provider)
}
