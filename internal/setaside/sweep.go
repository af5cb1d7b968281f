package setaside

import (
	"context"
	"errors"
	"fmt"
)

// Sweep is a list and what is done with each of its elements.
type Sweep[T any] struct {
	Kind Kind
	// Most is how many elements are worked on at most, beside those that are skipped.
	Most int
	// List returns up to so many elements, in the order in which they are worked on.
	List func(ctx context.Context, most int32) ([]T, error)
	Name func(T) Element
	Step func(ctx context.Context, element T) error
	// Workers run the steps, side by side and after [Run] has returned. Without them each step runs once the one before
	// has ended.
	Workers *Workers
	// Share is what an element's worker is counted to. It goes with Workers.
	Share func(T) string
}

// Run runs the step for each element that is not waiting for its next try. An element that fails or panics is noted and
// the others go on. The error is that of the list, of a store that can't be reached, or of the context. With workers it
// may be that of a step of an earlier call.
func Run[T any](ctx context.Context, s *Set, w Sweep[T]) error {
	known, err := s.Load(ctx, w.Kind)
	if err != nil {
		return err
	}
	// Elements that wait, and those that have a worker or wait for one, take no other's place on the page.
	elements, err := w.List(ctx, int32(w.Most+len(known)+w.Workers.count(w.Kind)))
	if err != nil {
		return err
	}
	problems := w.Workers.takeProblems(w.Kind)
	for _, element := range elements {
		name := w.Name(element)
		if known.Waits(name.Key, s.Now()) {
			continue
		}
		_, failed := known[name.Key]
		one := func() error {
			return s.do(ctx, w.Kind, name, failed, func(ctx context.Context) error { return w.Step(ctx, element) })
		}
		if w.Workers != nil {
			w.Workers.add(task{job: job{w.Kind, name.Key}, share: w.Share(element), do: one})
			continue
		}
		err := one()
		problems = append(problems, err)
		if errors.Is(err, errAway) || ctx.Err() != nil {
			break
		}
	}
	return errors.Join(problems...)
}

// errAway is in the error of a step that failed while a store could not be reached.
var errAway = errors.New("a store can't be reached")

// do runs one step and notes what came of it. failed says that the element had failed before.
func (s *Set) do(ctx context.Context, kind Kind, e Element, failed bool, step func(context.Context) error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	err := s.try(ctx, kind, step)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, ErrLeft), err == nil && !failed:
		return nil
	case err == nil:
		return s.NoteDone(ctx, kind, e)
	}
	if away := s.Ready(ctx, kind); away != nil {
		return fmt.Errorf("%s %s: %w; %w: %w", kind, e.Key, err, errAway, away)
	}
	return s.Note(ctx, kind, e, err)
}
