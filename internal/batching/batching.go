// Package batching writes what many goroutines want written at the same time with one statement. Each learns what
// became of its own. The item-worker uses it for receipts, and webhookwork for deliveries and what becomes of them.
package batching

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/watchdog"
)

const (
	// writeWithin bounds one statement: a row that somebody has locked holds up those that are written with it for so
	// long, once.
	writeWithin = 10 * time.Second
	// aloneAtATime is how many values are written one by one at a time.
	aloneAtATime = 4
)

// Batcher writes the values of many goroutines together. Values that come during a write wait for the next one. A value
// that could not be written is better tried again by [Batcher.Alone], because it would delay others again.
type Batcher[T any] struct {
	most  int
	write func(context.Context, []T) error
	queue chan queued[T]
}

type queued[T any] struct {
	value T
	done  chan error
}

// New returns a batcher that writes at most so many values at a time.
func New[T any](most int, write func(context.Context, []T) error) *Batcher[T] {
	return &Batcher[T]{most: most, write: write, queue: make(chan queued[T], most)}
}

// Add returns once the value is written, or is not.
func (g *Batcher[T]) Add(ctx context.Context, value T) error {
	mine := queued[T]{value: value, done: make(chan error, 1)}
	select {
	case g.queue <- mine:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-mine.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run writes until ctx ends.
func (g *Batcher[T]) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case first := <-g.queue:
			all := []queued[T]{first}
			for len(all) < g.most && len(g.queue) > 0 {
				all = append(all, <-g.queue)
			}
			_ = watchdog.Step(ctx, "write together", func(ctx context.Context) error { g.flush(ctx, all); return nil })
		}
	}
}

// flush writes all as one; if the database refuses that, or takes too long, one by one, so that a bad one does not take
// the others with it.
func (g *Batcher[T]) flush(ctx context.Context, all []queued[T]) {
	values := make([]T, 0, len(all))
	for _, one := range all {
		values = append(values, one.value)
	}
	err := postgres.Within(ctx, writeWithin, func(ctx context.Context) error { return g.write(ctx, values) })
	if err != nil && len(all) > 1 && !postgres.Unavailable(err) && ctx.Err() == nil {
		var group errgroup.Group
		group.SetLimit(aloneAtATime)
		for _, one := range all {
			group.Go(func() error {
				one.done <- g.Alone(ctx, one.value)
				return nil
			})
		}
		_ = group.Wait()
		return
	}
	for _, one := range all {
		one.done <- err
	}
}

// Alone writes a value by itself, beside the values that are written together.
func (g *Batcher[T]) Alone(ctx context.Context, value T) error {
	return postgres.Within(ctx, writeWithin, func(ctx context.Context) error { return g.write(ctx, []T{value}) })
}
