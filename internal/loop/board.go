package loop

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Board knows the loops of a process, and since when the step of each goes on. A step that fails says so in the log; one that hangs says nothing.
type Board struct {
	mu    sync.Mutex
	turns map[*turn]struct{}
}

// turn is a step that goes on.
type turn struct {
	what  string
	began time.Time
}

type boardKey struct{}

// WithBoard has the loops that run with this context show on the board.
func WithBoard(ctx context.Context, b *Board) context.Context {
	return context.WithValue(ctx, boardKey{}, b)
}

// Moving returns an error while a step goes on for longer than so long.
func (b *Board) Moving(after time.Duration) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var stuck []string
	for t := range b.turns {
		if takes := time.Since(t.began); takes > after {
			stuck = append(stuck, fmt.Sprintf("the loop %q is at one step for %s", t.what, takes.Round(time.Second)))
		}
	}
	slices.Sort(stuck)
	var problems []error
	for _, text := range stuck {
		problems = append(problems, errors.New(text))
	}
	return errors.Join(problems...)
}

// begin shows a step until the returned function is called. Without a board it does nothing.
func begin(ctx context.Context, what string) (end func()) {
	b, ok := ctx.Value(boardKey{}).(*Board)
	if !ok {
		return func() {}
	}
	t := &turn{what: what, began: time.Now()}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.turns == nil {
		b.turns = map[*turn]struct{}{}
	}
	b.turns[t] = struct{}{}
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.turns, t)
	}
}
