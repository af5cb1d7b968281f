package scheduler

import (
	"math"
	"testing"
	"testing/synctest"
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

// TestAClockThatWasAhead is believed only after a while, and not once it has agreed meanwhile.
func TestAClockThatWasAhead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &mark{Scheduler: &Scheduler{Config: Config{Settings: Settings{ClockHold: time.Minute}}}}
		after := func(wait, ahead time.Duration) bool {
			<-time.After(wait)
			return m.wasAhead(ahead)
		}
		for i, step := range []struct {
			wait, ahead time.Duration
			want        bool
		}{
			{0, time.Hour, false},
			{59 * time.Second, time.Hour, false},
			{time.Second, time.Second, false},
			{time.Second, time.Hour, false},
			{59 * time.Second, time.Hour, false},
			{time.Second, time.Hour, true},
			{0, -time.Hour, false},
		} {
			if got := after(step.wait, step.ahead); got != step.want {
				t.Errorf("step %d: %v", i, got)
			}
		}
	})
}
