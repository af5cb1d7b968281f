package budget

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/tributaryhq/tributary/internal/deferral"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// Usage counts the requests that one try of an item or a webhook takes from a request budget, and notes that the budget
// refused one. Its zero value has counted nothing.
type Usage struct {
	taken   atomic.Int64
	refused atomic.Pointer[Exhausted]
}

// Exhausted is a request budget that refused a request, for more time than a request waits in place.
type Exhausted struct {
	// Budget is the key of the budget. Integrations that share a budget have the same key.
	Budget string
	Limit  contracts.RateLimit
}

// UsageKey is the context key of a [Usage]. A context of the runtime's own may answer to it without [WithUsage].
type UsageKey struct{}

// WithUsage returns a context whose requests are counted in u.
func WithUsage(ctx context.Context, u *Usage) context.Context {
	return context.WithValue(ctx, UsageKey{}, u)
}

// usageOf is the usage that a context's requests are counted in; nil counts nothing.
func usageOf(ctx context.Context) *Usage {
	u, _ := ctx.Value(UsageKey{}).(*Usage)
	return u
}

// Exhausted returns the budget that refused a request of this try, and how many it had let through. It returns false if
// none did.
func (u *Usage) Exhausted() (requests int64, by Exhausted, ok bool) {
	refused := u.refused.Load()
	if refused == nil {
		return 0, Exhausted{}, false
	}
	return u.taken.Load(), *refused, true
}

func (u *Usage) take() {
	if u != nil {
		u.taken.Add(1)
	}
}

// refuse notes a refusal of a budget that is used up. A budget that can't be read says nothing about the try. Nor does
// one whose next window a request waits for in place: the try does not end for it.
func (u *Usage) refuse(budget string, limit *contracts.RateLimit, err error) {
	if u == nil || limit == nil || limit.Window <= LongestWait || deferral.CauseOf(err) != deferral.Budget ||
		errors.Is(err, errBudgetUnknown) {
		return
	}
	u.refused.Store(&Exhausted{Budget: budget, Limit: *limit})
}
