package handling_test

import (
	"testing"
	"time"

	"github.com/tributaryhq/tributary/internal/handling"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// TestRestartsAreWarnedOf adds up the requests of tries that their budget refused, by budget and window.
func TestRestartsAreWarnedOf(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 11, 28, 10, 0, 0, 0, time.UTC)
	hourly, daily := *contracts.PerHour(100), *contracts.PerDay(100)
	type try struct {
		budget   string
		limit    contracts.RateLimit
		at       time.Duration
		requests int64
		warned   bool
	}
	for name, tries := range map[string][]try{
		"a whole window":     {{"a", hourly, 0, 90, true}},
		"less than a window": {{"a", hourly, 0, 89, false}},
		"less in each of several windows": {
			{"a", hourly, 0, 89, false},
			{"a", hourly, time.Hour, 89, false},
			{"a", hourly, 3 * time.Hour, 89, false},
		},
		"side by side": {{"a", hourly, 0, 45, false}, {"a", hourly, time.Minute, 45, true}},
		"either side of a boundary": {
			{"a", hourly, 59 * time.Minute, 45, false},
			{"a", hourly, 61 * time.Minute, 45, false},
		},
		"of two budgets": {
			{"a", hourly, 0, 45, false},
			{"b", hourly, 0, 45, false},
			{"a", daily, 0, 45, false},
		},
		"once in an hour": {
			{"a", hourly, 0, 100, true},
			{"a", hourly, time.Minute, 100, false},
			{"b", hourly, time.Minute, 100, true},
			{"a", hourly, time.Hour, 100, true},
		},
		"once in an hour of a longer window": {
			{"a", daily, 0, 100, true},
			{"a", daily, 59 * time.Minute, 1, false},
			{"a", daily, time.Hour, 1, true},
		},
	} {
		add := handling.Restarts()
		for i, try := range tries {
			if warned := add(try.budget, try.limit, try.requests, start.Add(try.at)); warned != try.warned {
				t.Errorf("%s: try %d is warned of: %t, want %t", name, i, warned, try.warned)
			}
		}
	}
}
