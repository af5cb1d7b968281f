package outbound

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// errBudgetUnknown is the cause of a refusal while the broker does not answer.
var errBudgetUnknown = errors.New("what is left of it can't be known now")

// budget holds requests back until the budget allows them, and listens to what the upstream says about its own. What would have to wait for too long is a
// deferral.
type budget struct {
	base    http.RoundTripper
	budgets *Budgets
	target  Target
	metrics *RequestMetrics
	now     func() time.Time
	keyed   atomic.Pointer[keyed]
}

// keyed is the budget key of one state of an integration.
type keyed struct {
	in  *contracts.Integration
	key string
}

func (b *budget) RoundTrip(req *http.Request) (*http.Response, error) {
	key := b.key()
	limit := b.target.limit(b.now())
	usage := usageOf(req.Context())
	if err := b.budgets.admit(req.Context(), key, limit); err != nil {
		if _, deferred := contracts.AsDeferral(err); deferred {
			b.metrics.refused(b.target.Integration().Provider(), "budget")
		}
		usage.refuse(key, limit, err)
		closeBody(req)
		return nil, err
	}
	usage.take()
	res, err := b.base.RoundTrip(req)
	if res != nil {
		b.budgets.learn(req.Context(), key, limit, reportOf(b.target.Provider, res, b.now()))
	}
	return res, err
}

func (b *budget) key() string {
	in := b.target.Integration()
	if have := b.keyed.Load(); have != nil && have.in == in {
		return have.key
	}
	next := &keyed{in: in, key: budgetKey(b.target.Provider, in)}
	b.keyed.Store(next)
	return next.key
}

// boundedKey is [budgetKey] for callers other than the provider's own code.
func boundedKey(provider contracts.Provider, in *contracts.Integration) (string, error) {
	return panics.Compute("BudgetKey", func() (string, error) { return budgetKey(provider, in), nil })
}

// ShareBudget reports whether the upstream counts the requests of two integrations of a provider together.
func ShareBudget(provider contracts.Provider, a, b *contracts.Integration) (bool, error) {
	keys := [2]string{}
	for i, in := range []*contracts.Integration{a, b} {
		var err error
		if keys[i], err = boundedKey(provider, in); err != nil {
			return false, err
		}
	}
	return keys[0] == keys[1], nil
}

// budgetKey is "<provider>.<what the upstream counts by>": the integration's id, or a hash of what the provider says.
func budgetKey(provider contracts.Provider, in *contracts.Integration) string {
	if keyer, ok := provider.(contracts.BudgetKeyer); ok {
		if key := keyer.BudgetKey(in); key != "" {
			sum := sha256.Sum256([]byte(in.Provider() + "\x00" + key))
			return in.Provider() + "." + hex.EncodeToString(sum[:16])
		}
	}
	return in.Provider() + "." + in.ID()
}

// limit is the request budget that applies: an operator's, else the provider's; nil is unlimited.
func (t Target) limit(now time.Time) *contracts.RateLimit {
	if limit := t.Settings().limitAt(now); limit != nil {
		return limit
	}
	return ProviderLimit(t.Provider)
}

// ProviderLimit is the request budget that a provider declares; nil is unlimited. It calls the provider's code.
func ProviderLimit(provider contracts.Provider) *contracts.RateLimit {
	if limiter, ok := provider.(contracts.RateLimiter); ok {
		return limiter.RateLimit()
	}
	if scheduled, ok := provider.(contracts.ScheduledSync); ok {
		return scheduled.DefaultRateLimit()
	}
	return nil
}

// admit returns once a request may be sent. If that is too far away, or after the context's deadline, it returns a deferral.
func (b *Budgets) admit(ctx context.Context, key string, limit *contracts.RateLimit) error {
	provider, _, _ := strings.Cut(key, ".")
	arrived := b.now()
	for waited := false; ; waited = true {
		wait, why, err := b.try(ctx, key, limit)
		stayed := b.now().Sub(arrived)
		switch {
		case err != nil:
			return &unsentError{err}
		case wait <= 0:
			b.metrics.granted(provider, waited, stayed)
			return nil
		case stayed+wait > longestStay, !endsBefore(ctx, wait):
			return contracts.RetryAfter(wait, why)
		}
		if err := sleep(ctx, min(wait, askAgain)); err != nil {
			return &unsentError{err}
		}
	}
}

// try takes a unit, or says for how long there will be none, and why.
func (b *Budgets) try(ctx context.Context, key string, limit *contracts.RateLimit) (wait time.Duration, why, err error) {
	if until, ok := b.suppressedUntil(key); ok {
		return max(until.Sub(b.earliest()), time.Millisecond), errLeftAlone, nil
	}
	if limit == nil {
		return 0, nil, nil
	}
	again, err := b.account(key, *limit).take(ctx)
	switch {
	case ctx.Err() != nil:
		return 0, nil, ctx.Err()
	case err != nil:
		// Nobody knows what is spent: to send nothing is the only way not to send too much.
		return awayFor, fmt.Errorf("%w: %w: %w", contracts.ErrBudgetExhausted, errBudgetUnknown, err), nil
	case again.IsZero():
		return 0, nil, nil
	default:
		return max(again.Sub(b.earliest()), time.Millisecond), fmt.Errorf("%w: %d requests in %s", contracts.ErrBudgetExhausted, limit.Limit, limit.Window), nil
	}
}
