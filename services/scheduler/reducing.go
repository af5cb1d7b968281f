package scheduler

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/runs"
	"github.com/tributaryhq/tributary/internal/setaside"
)

// reducing has a step call the reducer of an integration, which may end the process. A process that starts again meets
// that reducer first of all: an attempt that is not fresh, because it was complete before the start, is marked before
// its reducer is called, and a mark that is left tells of another end. A reducer with such a mark is called while no
// other is. After a few ends the integration's runs close without it.
func (s *Scheduler) reducing(ctx context.Context, integration uuid.UUID, fresh bool, known setaside.Known,
	step func(without bool) error,
) error {
	before := known[integration.String()]
	if s.SetAside.IsGivenUp(before) {
		return step(true)
	}
	acquire, release := s.reducers.Beside, s.reducers.Release
	if before != nil {
		acquire, release = s.reducers.Alone, s.reducers.ReleaseAlone
	}
	if !acquire(ctx, nil) {
		return fmt.Errorf("wait for other reducers: %w", ctx.Err())
	}
	defer release()
	if fresh && before == nil {
		return step(false)
	}
	element := setaside.Of(integration, integration)
	row, err := s.SetAside.Begin(ctx, setaside.Reduce, element, runs.ErrDeadly)
	switch {
	case err != nil:
		return err
	case row == nil:
		// Another process may be at it.
		return setaside.ErrLeft
	case s.SetAside.IsGivenUp(row):
		return step(true)
	}
	return errors.Join(step(false), s.SetAside.NoteDone(context.WithoutCancel(ctx), setaside.Reduce, element))
}
