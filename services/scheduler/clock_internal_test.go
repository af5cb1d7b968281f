package scheduler

import (
	"testing"
	"testing/synctest"
	"time"
)

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
