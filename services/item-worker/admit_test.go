package itemworker

import (
	"testing"
	"time"
)

func TestAdmitWait(t *testing.T) {
	t.Parallel()
	for count, want := range map[uint64]time.Duration{
		0: 2 * time.Second, 1: 2 * time.Second, 2: 4 * time.Second, 5: 32 * time.Second, 6: time.Minute,
		1 << 60: time.Minute,
	} {
		if got := admitWait(count); got != want {
			t.Errorf("delivery %d: %s, want %s", count, got, want)
		}
	}
}
