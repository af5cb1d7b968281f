package circuit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// ward is processes that share the circuit of one integration, in fake time.
type ward struct {
	*testing.T
	server    *natstest.Server
	override  Override
	until     time.Time
	circuit   Settings
	processes []*Circuits
	told      []string
	mu        sync.Mutex
	// answer is what the upstream does.
	answer func() Outcome
}

func always(what Outcome) func() Outcome { return func() Outcome { return what } }

func inWard(t *testing.T, f func(w *ward)) {
	t.Helper()
	natstest.Bubble(t, func(t *testing.T) {
		w := &ward{T: t, server: natstest.New(t), circuit: DefaultSettings(), answer: always(Answered)}
		ctx, stop := context.WithCancel(t.Context())
		var group errgroup.Group
		for i := range 2 {
			c := w.process(w.server.Connect(), fmt.Sprint("process-", i))
			w.processes = append(w.processes, c)
			group.Go(func() error { return c.Run(ctx) })
		}
		synctest.Wait()
		f(w)
		stop()
		if err := group.Wait(); err != nil {
			t.Error(err)
		}
	})
}

func (w *ward) process(nc *nats.Conn, owner string) *Circuits {
	w.Helper()
	b, err := bus.New(nc, bus.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		w.Fatal(err)
	}
	if err := b.Apply(w.Context()); err != nil {
		w.Fatal(err)
	}
	cells, err := b.Cells(w.Context(), wire.BucketCircuits)
	if err != nil {
		w.Fatal(err)
	}
	metrics, err := NewMetrics(prometheus.NewRegistry())
	if err != nil {
		w.Fatal(err)
	}
	return New(Config{
		Cells: cells, Clock: b.Clock(wire.BucketCircuits), Owner: owner, Settings: w.circuit,
		Log: slog.New(slog.DiscardHandler), Metrics: metrics, Now: time.Now,
		OnTransition: func(_ context.Context, t Transition) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.told = append(w.told, stateName(t.Open)+": "+t.Reason)
			return nil
		},
	})
}

// send sends a request from a process.
func (w *ward) send(process int) error {
	pass, err := w.processes[process].Enter(w.Context(), "p", "i", w.override, w.until)
	if err != nil {
		return err
	}
	w.mu.Lock()
	answer := w.answer
	w.mu.Unlock()
	w.processes[process].Leave(w.Context(), pass, answer())
	return nil
}

func (w *ward) passes(process int) {
	w.Helper()
	if err := w.send(process); errors.Is(err, contracts.ErrCircuitOpen) {
		w.Errorf("process %d is kept back: %v", process, err)
	}
}

func (w *ward) refused(process int, wait time.Duration) {
	w.Helper()
	err := w.send(process)
	deferral, ok := contracts.AsDeferral(err)
	if !ok || !errors.Is(err, contracts.ErrCircuitOpen) || (deferral.Delay-wait).Abs() > time.Second {
		w.Errorf("process %d gets %v, want a deferral of %s", process, err, wait)
	}
}

// trip has the upstream fail until the circuit is open, which all processes know a moment later.
func (w *ward) trip() {
	w.Helper()
	w.answer = always(Failed)
	for range 10 {
		w.passes(0)
	}
	elapse(10 * time.Millisecond)
}

func (w *ward) wantTold(want ...string) {
	w.Helper()
	elapse(10 * time.Millisecond)
	w.mu.Lock()
	defer w.mu.Unlock()
	if diff := cmp.Diff(want, w.told); diff != "" {
		w.Errorf("transitions (-want +got):\n%s", diff)
	}
}

// rest is a cooldown, and a second for what is not known of the broker's clock.
const rest = time.Minute + time.Second

const (
	opened      = "open: " + ReasonFailures
	reopened    = "open: " + ReasonProbeFailed
	closedAgain = "closed: " + ReasonProbeAnswered
)

func TestCircuitOpensForAll(t *testing.T) {
	inWard(t, func(w *ward) {
		w.trip()
		w.refused(0, time.Minute)
		w.refused(1, time.Minute)
		elapse(20 * time.Second)
		w.refused(1, 40*time.Second)
		w.wantTold(opened)
	})
}

func TestProbe(t *testing.T) {
	for name, test := range map[string]struct {
		answer Outcome
		told   []string
		// refused is for how long the next request is kept back; 0 lets it through.
		refused time.Duration
	}{
		"an answer closes":                         {Answered, []string{opened, closedAgain}, 0},
		"a failure opens anew":                     {Failed, []string{opened, reopened}, time.Minute},
		"silence says nothing, and another probes": {Silent, []string{opened}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inWard(t, func(w *ward) {
				w.trip()
				elapse(rest)
				w.answer = always(test.answer)
				w.passes(1)
				w.wantTold(test.told...)
				w.answer = always(Answered)
				if test.refused > 0 {
					w.refused(0, test.refused)
					return
				}
				w.passes(0)
			})
		})
	}
}

func TestOneProbeAtATime(t *testing.T) {
	inWard(t, func(w *ward) {
		w.trip()
		elapse(rest)
		release := make(chan struct{})
		sent := 0
		w.answer = func() Outcome {
			w.mu.Lock()
			sent++
			w.mu.Unlock()
			<-release
			return Answered
		}
		var group errgroup.Group
		for i := range 20 {
			group.Go(func() error {
				if err := w.send(i % 2); err != nil && !errors.Is(err, contracts.ErrCircuitOpen) {
					return err
				}
				return nil
			})
		}
		elapse(time.Second)
		w.mu.Lock()
		if sent != 1 {
			t.Errorf("%d requests probe at a time, want 1", sent)
		}
		w.mu.Unlock()
		w.refused(1, probedFor)
		close(release)
		if err := group.Wait(); err != nil {
			t.Error(err)
		}
		w.wantTold(opened, closedAgain)
		w.passes(0)
		w.passes(1)
	})
}

// A probe that hangs gives its place away when its lease is over, and what it finds then decides nothing.
func TestProbeThatHangs(t *testing.T) {
	inWard(t, func(w *ward) {
		w.trip()
		elapse(rest)
		release := make(chan struct{})
		w.answer = func() Outcome {
			<-release
			return Failed
		}
		var group errgroup.Group
		group.Go(func() error { return w.send(0) })
		elapse(rest)
		w.refused(1, probedFor)
		elapse(rest)
		w.mu.Lock()
		w.answer = always(Answered)
		w.mu.Unlock()
		w.passes(1)
		w.wantTold(opened, closedAgain)
		close(release)
		_ = group.Wait()
		w.wantTold(opened, closedAgain)
		w.passes(0)
	})
}

func TestSilenceBlamesNobody(t *testing.T) {
	inWard(t, func(w *ward) {
		w.answer = always(Silent)
		for range 30 {
			w.passes(0)
		}
		w.wantTold()
	})
}

func TestOverrides(t *testing.T) {
	inWard(t, func(w *ward) {
		w.override, w.until = ForcedOpen, time.Now().Add(time.Hour)
		w.refused(0, time.Hour)
		elapse(time.Hour)
		w.passes(0)
		w.override, w.until = ForcedOpen, time.Time{}
		w.refused(1, forcedFor)

		for _, override := range []Override{ForcedClosed, Disabled} {
			w.override = override
			w.trip()
			w.passes(0)
		}
		w.wantTold()
		// What was counted under forced-closed counts at the next failure.
		w.override = Auto
		w.passes(0)
		w.wantTold(opened)
		w.override = ForcedClosed
		w.passes(1)
	})
}

func TestResetAndRestore(t *testing.T) {
	inWard(t, func(w *ward) {
		w.trip()
		known := w.processes[1].Known()
		if len(known) != 1 || !known[0].Open || known[0].Integration != "i" {
			w.Fatalf("known are %+v", known)
		}
		if err := w.processes[1].Reset(w.Context(), "p", "i"); err != nil {
			w.Fatal(err)
		}
		w.wantTold(opened, "closed: "+ReasonReset)
		w.answer = always(Answered)
		w.passes(0)
		if err := w.processes[1].Reset(w.Context(), "p", "i"); err != nil {
			w.Fatal(err)
		}
		// A cell that is there is not overwritten.
		if err := w.processes[1].Restore(w.Context(), known[0]); err != nil {
			w.Fatal(err)
		}
		w.passes(1)
		known[0].Integration = "lost"
		if err := w.processes[1].Restore(w.Context(), known[0]); err != nil {
			w.Fatal(err)
		}
		state, err := w.processes[0].State(w.Context(), "p", "lost")
		if err != nil || !state.Open {
			w.Errorf("the state is %+v, %v", state, err)
		}
		w.wantTold(opened, "closed: "+ReasonReset)
	})
}

// TestATransitionThatCanNotBeToldOf holds up those of its own integration, and no other's.
func TestATransitionThatCanNotBeToldOf(t *testing.T) {
	t.Parallel()
	of := func(integration string, number int64) Transition {
		return Transition{Integration: integration, State: State{Transition: number}}
	}
	var told []string
	locked := true
	c := &Circuits{untold: []Transition{of("a", 1), of("b", 1), of("a", 2), of("c", 1), of("b", 2)}}
	c.config.OnTransition = func(_ context.Context, t Transition) error {
		if locked && t.Integration == "a" {
			return errors.New("locked")
		}
		told = append(told, fmt.Sprint(t.Integration, t.Transition))
		return nil
	}
	if held, why := c.tell(t.Context(), slices.Clone(c.untold)); held != 1 || why == nil {
		t.Errorf("held up are %d, %v", held, why)
	}
	locked = false
	if held, why := c.tell(t.Context(), slices.Clone(c.untold)); held != 0 || why != nil || len(c.untold) > 0 {
		t.Errorf("held up are %d, %v, and left %v", held, why, c.untold)
	}
	if diff := cmp.Diff([]string{"b1", "c1", "b2", "a1", "a2"}, told); diff != "" {
		t.Errorf("told of (-want +got):\n%s", diff)
	}
}

// Without the broker the upstream has its rest from the process that saw it fail.
func TestCircuitWithoutBroker(t *testing.T) {
	inWard(t, func(w *ward) {
		w.server.Stop()
		w.trip()
		w.refused(0, time.Minute)
		w.server.Start()
	})
}

// elapse lets time go by in a bubble, where nobody waits for it, and everybody else do what is due at its end: what a
// test does next happens after that.
func elapse(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}
