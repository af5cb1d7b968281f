package itemworker

import (
	"context"

	"github.com/tributaryhq/tributary/internal/postgres"
)

// gatherer brings together what many goroutines want written at the same time, for one statement. What comes while one is under way waits for the next.
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
			g.flush(ctx, all)
		}
	}
}

// flush writes all as one; if the database refuses that, one by one, so that a bad one does not take the others with it.
func (g *gatherer[T]) flush(ctx context.Context, all []gathered[T]) {
	values := make([]T, 0, len(all))
	for _, one := range all {
		values = append(values, one.value)
	}
	err := g.write(ctx, values)
	if err != nil && len(all) > 1 && !postgres.Unavailable(err) && ctx.Err() == nil {
		for i := range all {
			g.flush(ctx, all[i:i+1])
		}
		return
	}
	for _, one := range all {
		one.done <- err
	}
}
