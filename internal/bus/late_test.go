package bus_test

import (
	"errors"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/internal/bus"
)

// TestAckAfter acknowledges a message once its row is older than the bound, and has those of one second come back at the same time.
func TestAckAfter(t *testing.T) {
	t.Parallel()
	committed := time.Date(2026, 7, 1, 12, 0, 0, 300e6, time.UTC)
	const bound = 30 * time.Second
	back := committed.Truncate(time.Second).Add(bound + time.Second)
	for after, acked := range map[time.Duration]bool{0: false, time.Second: false, bound - time.Nanosecond: false, bound: true, time.Hour: true} {
		err := bus.AckAfter(bound, committed, committed.Add(after))
		if acked != (err == nil) {
			t.Errorf("after %s: %v", after, err)
		}
		if acked {
			continue
		}
		handBack, ok := errors.AsType[*bus.HandBack](err)
		if at := committed.Add(after); !ok || !at.Add(handBack.Delay).Equal(back) {
			t.Errorf("after %s: %v, want it back at %s", after, err, back)
		}
	}
	if err := bus.AckAfter(0, committed, committed); err != nil {
		t.Errorf("without a bound: %v", err)
	}
}
