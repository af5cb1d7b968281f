package items_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tributaryhq/tributary/internal/items"
)

func TestGuardRemembersTheFirstRefusal(t *testing.T) {
	t.Parallel()
	first, second := errors.New("first"), errors.New("second")
	g := &items.Guard{}
	if err := g.Ended(); err != nil {
		t.Errorf("a new guard has ended: %v", err)
	}
	for _, err := range []error{first, second} {
		if got := g.Refuse(err); got != err { //nolint:errorlint // the very same error is returned
			t.Errorf("refused with %v, want %v", got, err)
		}
	}
	err := g.Verdict(func(error) { t.Error("a refusal before the verdict is told late too") })
	if !errors.Is(err, first) {
		t.Errorf("the verdict is %v, want the first refusal", err)
	}
	_ = g.Refuse(second)
}

// TestGuardTellsLateRefusalsOnce has many goroutines dispatch after the verdict.
func TestGuardTellsLateRefusalsOnce(t *testing.T) {
	t.Parallel()
	g, told := &items.Guard{}, atomic.Int32{}
	g.End()
	if err := g.Ended(); !errors.Is(err, items.ErrEnded) {
		t.Errorf("after the end there is %v", err)
	}
	if err := g.Verdict(func(err error) {
		told.Add(1)
		if !errors.Is(err, items.ErrEnded) {
			t.Errorf("late: %v", err)
		}
	}); err != nil {
		t.Errorf("nothing was refused: %v", err)
	}
	var group sync.WaitGroup
	for range 10 {
		group.Go(func() { _ = g.Refuse(g.Ended()) })
	}
	group.Wait()
	if told.Load() != 1 {
		t.Errorf("told %d times, want once", told.Load())
	}
}
