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
}

type boardKey struct{}

// WithBoard has the loops that run with this context show on the board.
func WithBoard(ctx context.Context, b *Board) context.Context {
	return context.WithValue(ctx, boardKey{}, b)
}

// Step calls f, and shows on the board of ctx that a loop is at it. what completes "the loop …". Without a board, it
// only calls f.
func Step(ctx context.Context, what string, f func() error) error {
	if b, ok := ctx.Value(boardKey{}).(*Board); ok {
		defer b.begin(what)()
	}
	return f()
}

// Moving returns an error while a step goes on for longer than so long.
func (b *Board) Moving(after time.Duration) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var stuck []string
	for s := range b.steps {
		if takes := time.Since(s.began); takes > after {
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

// begin shows a step until the returned function is called.
func (b *Board) begin(what string) (end func()) {
	s := &step{what: what, began: time.Now()}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.steps == nil {
		b.steps = map[*step]struct{}{}
	}
	b.steps[s] = struct{}{}
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.steps, s)
	}
}
