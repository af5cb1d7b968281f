package scheduler

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/runs"
	"github.com/tributaryhq/tributary/internal/setaside"
)

// allReducers is more than can be called at a time.
const allReducers = math.MaxInt32

// reducing has a step call the reducer of an integration, which may end the process. One that has is met again just after
// the next start: what is not fresh, but was to be reduced before, is marked first, and a mark that nothing takes away
// tells of another end. Such a reducer is called beside no other. After a few ends the integration's runs close without it.
func (s *Scheduler) reducing(ctx context.Context, integration uuid.UUID, fresh bool, known setaside.Known, step func(without bool) error) error {
	before := known[integration.String()]
	if s.SetAside.IsGivenUp(before) {
		return step(true)
	}
	weight := int64(1)
	if before != nil {
		weight = allReducers
	}
	if err := s.reducers.Acquire(ctx, weight); err != nil {
		return fmt.Errorf("wait for other reducers: %w", err)
	}
	defer s.reducers.Release(weight)
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
