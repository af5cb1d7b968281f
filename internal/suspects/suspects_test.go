package suspects_test

import (
	"testing"
	"testing/synctest"

	"github.com/tributaryhq/tributary/internal/suspects"
)

// TestGate has a suspect wait for the work beside it, and other work wait for the suspect.
func TestGate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := suspects.NewGate()
		first, second := g.Beside(t.Context(), nil), g.Beside(t.Context(), nil)
		if !first || !second {
			t.Fatal("two that are no suspects don't run side by side")
		}
		var alone, beside bool
		go func() { alone = g.Alone(t.Context(), nil) }()
		synctest.Wait()
		if alone {
			t.Error("a suspect runs beside others")
		}
		g.Release()
		g.Release()
		synctest.Wait()
		if !alone {
			t.Error("a suspect does not run when nothing else does")
		}
		go func() { beside = g.Beside(t.Context(), nil) }()
		synctest.Wait()
		if beside {
			t.Error("something runs beside a suspect")
		}
		g.ReleaseAlone()
		synctest.Wait()
		if !beside {
			t.Error("nothing runs after a suspect")
		}
	})
}

// TestGateAtAStop has work give up its wait, and hold nothing later.
func TestGateAtAStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := suspects.NewGate()
		g.Alone(t.Context(), nil)
		stopping := make(chan struct{})
		close(stopping)
		if g.Alone(t.Context(), stopping) || g.Beside(t.Context(), stopping) {
			t.Error("work acquires a gate that another has")
		}
		g.ReleaseAlone()
		if !g.Alone(t.Context(), stopping) {
			t.Error("work that gave up holds the gate")
		}
	})
}
