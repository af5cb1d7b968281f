package contracts

import (
	"fmt"
	"net/http"
	"time"
)

// RateLimit is a request budget: Limit requests per Window. The zero value is not valid; use [PerMinute], [PerHour],
// [PerDay] or [Per].
type RateLimit struct {
	// Limit is the number of requests in a window, at least 1.
	Limit int
	// Window is the length of a window, at least one second.
	Window time.Duration
	// IsSliding weighs the previous window in, instead of starting afresh at each boundary.
	IsSliding bool
}

// RateLimiter is implemented by providers that have a request budget without a sync. It wins over [ScheduledSync]'s
// DefaultRateLimit.
type RateLimiter interface {
	// RateLimit is the request budget of one integration; nil means unlimited.
	RateLimit() *RateLimit
}

// BudgetKeyer is implemented by providers whose upstream counts the requests of several integrations together, such as
// all connections of one app.
type BudgetKeyer interface {
	// BudgetKey names what the upstream counts by. Integrations of the provider with the same key share a budget; an
	// empty key stands for the integration alone. It is kept as a hash, so that it may be made of a secret.
	BudgetKey(in *Integration) string
}

// RateReporter is implemented by providers whose upstream tells of its budget in a way of its own. Retry-After,
// X-RateLimit-* and RateLimit-* are understood without it.
type RateReporter interface {
	// ReportRate reads an answer of the upstream, whatever its status; false leaves it to the core. The body must not
	// be touched.
	ReportRate(res *http.Response) (RateReport, bool)
}

// RateReport is what an upstream said about its budget. The zero value says nothing.
type RateReport struct {
	// Wait is for how long the upstream wants no request at all.
	Wait time.Duration
	// Remaining is how many requests are left until Reset has passed. It counts only if Reset is more than 0.
	Remaining int
	// Reset is the time from now until the upstream starts a new count; 0 means that it did not say.
	Reset time.Duration
}

// Per is a fixed window of n requests every d.
func Per(n int, d time.Duration) *RateLimit { return &RateLimit{Limit: n, Window: d} }

// PerMinute is a fixed window of n requests a minute.
func PerMinute(n int) *RateLimit { return Per(n, time.Minute) }

// PerHour is a fixed window of n requests an hour.
func PerHour(n int) *RateLimit { return Per(n, time.Hour) }

// PerDay is a fixed window of n requests every 24 hours.
func PerDay(n int) *RateLimit { return Per(n, 24*time.Hour) }

// Sliding returns the same budget over a sliding window.
func (l *RateLimit) Sliding() *RateLimit {
	c := *l
	c.IsSliding = true
	return &c
}

// Fixed returns the same budget over fixed windows.
func (l *RateLimit) Fixed() *RateLimit {
	c := *l
	c.IsSliding = false
	return &c
}

// Validate says what is wrong with a budget: a limit below 1 or a window below one second. A nil budget is valid:
// unlimited.
func (l *RateLimit) Validate() error {
	if l == nil {
		return nil
	}
	if l.Limit < 1 {
		return fmt.Errorf("rate limit of %d requests: it must be at least 1", l.Limit)
	}
	if l.Window < time.Second {
		return fmt.Errorf("rate limit window of %s: it must be at least 1s", l.Window)
	}
	return nil
}
