// Package watchdog notices a loop of the process whose step does not end. A step that fails says so in the log; one
// that hangs says nothing. Every loop of a service runs its steps through [Step]; package platform reports what hangs
// as not ready.
package watchdog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Board has the steps that go on in a process, and since when.
type Board struct {
	mu    sync.Mutex
	steps map[*step]struct{}
}

type step struct {
	what  string
	began time.Time
	// alive is when it was last seen to get on.
	alive atomic.Pointer[time.Time]
}

type (
	boardKey struct{}
	stepKey  struct{}
)

// WithBoard has the loops that run with this context show on the board.
func WithBoard(ctx context.Context, b *Board) context.Context {
	return context.WithValue(ctx, boardKey{}, b)
}

// Step calls f, and shows on the board of ctx that a loop is at it. what completes "the loop …". Without a board, it
// only calls f. What f calls with its context shows that the step gets on: see [Alive].
func Step(ctx context.Context, what string, f func(context.Context) error) error {
	if b, ok := ctx.Value(boardKey{}).(*Board); ok {
		s := b.begin(what)
		defer b.end(s)
		ctx = context.WithValue(ctx, stepKey{}, s)
	}
	return f(ctx)
}

// Alive notes that the step of ctx gets on: a store has answered, for example. Without a step, it does nothing.
func Alive(ctx context.Context) {
	if s, ok := ctx.Value(stepKey{}).(*step); ok {
		now := time.Now()
		s.alive.Store(&now)
	}
}

// Moving returns an error while a step has not got on for longer than quiet, or goes on for longer than long.
func (b *Board) Moving(quiet, long time.Duration) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var stuck []string
	for s := range b.steps {
		still, takes := time.Since(*s.alive.Load()), time.Since(s.began)
		switch {
		case still > quiet:
			stuck = append(stuck, fmt.Sprintf("the loop %q waits for an answer for %s", s.what, still.Round(time.Second)))
		case takes > long:
			stuck = append(stuck, fmt.Sprintf("the loop %q is at one step for %s", s.what, takes.Round(time.Second)))
		}
	}
	slices.Sort(stuck)
	var problems []error
	for _, text := range stuck {
		problems = append(problems, errors.New(text))
	}
	return errors.Join(problems...)
}

func (b *Board) begin(what string) *step {
	s := &step{what: what, began: time.Now()}
	s.alive.Store(&s.began)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.steps == nil {
		b.steps = map[*step]struct{}{}
	}
	b.steps[s] = struct{}{}
	return s
}

func (b *Board) end(s *step) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.steps, s)
}
