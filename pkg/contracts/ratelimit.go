package contracts

import "time"

// RateLimit is a request budget: Limit requests per Window. The zero value is not valid; use [PerMinute], [PerHour] or [Per].
type RateLimit struct {
	// Limit is the number of requests in a window, at least 1.
	Limit int
	// Window is the length of a window, at least one second.
	Window time.Duration
	// IsSliding weighs the previous window in, instead of starting afresh at each boundary.
	IsSliding bool
}

// Per is a fixed window of n requests every d.
func Per(n int, d time.Duration) *RateLimit { return &RateLimit{Limit: n, Window: d} }

// PerMinute is a fixed window of n requests a minute.
func PerMinute(n int) *RateLimit { return Per(n, time.Minute) }

// PerHour is a fixed window of n requests an hour.
func PerHour(n int) *RateLimit { return Per(n, time.Hour) }

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
