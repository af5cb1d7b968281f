package itemworker

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

// gatherer brings together what many goroutines want written at the same time, for one statement. What comes while one
// is under way waits for the next. What could not be written is better tried again alone, by [gatherer.alone]: it would
// hold up others again.
type gatherer[T any] struct {
	most  int
	write func(context.Context, []T) error
	queue chan gathered[T]
}

type gathered[T any] struct {
	value T
	done  chan error
}

func newGatherer[T any](most int, write func(context.Context, []T) error) *gatherer[T] {
	return &gatherer[T]{most: most, write: write, queue: make(chan gathered[T], most)}
}

// add returns once the value is written, or is not.
func (g *gatherer[T]) add(ctx context.Context, value T) error {
	mine := gathered[T]{value: value, done: make(chan error, 1)}
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

// run writes until ctx ends.
func (g *gatherer[T]) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case first := <-g.queue:
			all := []gathered[T]{first}
			for len(all) < g.most && len(g.queue) > 0 {
				all = append(all, <-g.queue)
			}
			_ = watchdog.Step(ctx, "write together", func(ctx context.Context) error { g.flush(ctx, all); return nil })
		}
	}
}

// flush writes all as one; if the database refuses that, or takes too long, one by one, so that a bad one does not take
// the others with it.
func (g *gatherer[T]) flush(ctx context.Context, all []gathered[T]) {
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
				one.done <- g.alone(ctx, one.value)
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

// alone writes a value beside all others.
func (g *gatherer[T]) alone(ctx context.Context, value T) error {
	return postgres.Within(ctx, writeWithin, func(ctx context.Context) error { return g.write(ctx, []T{value}) })
}
