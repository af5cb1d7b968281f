package housekeeping

import (
	"math"
	"testing"
	"time"
)

// TestDaysBefore: what is to be kept for longer than a duration can say is kept, and not deleted.
func TestDaysBefore(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	if got := daysBefore(now, 1); !got.Equal(now.Add(-day)) {
		t.Errorf("one day before %s is %s", now, got)
	}
	for _, days := range []int{36_500, 106_752, 999_999, math.MaxInt32} {
		if got := daysBefore(now, days); got.After(now.AddDate(-99, 0, 0)) {
			t.Errorf("%d days before %s is %s", days, now, got)
		}
	}
}
