package scheduler

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/loop"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/runs"
	"github.com/tributaryhq/tributary/internal/setaside"
)

// watch follows the whole bucket. Completion is seen within about a millisecond of the last outcome.
func (s *Scheduler) watch(ctx context.Context) error {
	return s.Checkpoints.Watch(ctx, "", 0, func(u checkpoint.Update) {
		if s.Runs.Tracker.Live() {
			s.Metrics.checkpointSeen(s.Now().Sub(u.At))
		}
		s.Runs.Tracker.Apply(u)
	}, s.Runs.Tracker.CaughtUp)
}

// closeReady closes the runs that look complete.
func (s *Scheduler) closeReady(ctx context.Context) error {
	complete := slices.DeleteFunc(s.Runs.Tracker.Complete(), func(key runs.Attempt) bool {
		return s.closers.Has(setaside.CloseRun, key.Run)
	})
	if len(complete) == 0 {
		return nil
	}
	known, err := s.SetAside.Load(ctx, setaside.Reduce)
	if err != nil {
		return err
	}
	return setaside.Run(ctx, s.SetAside, setaside.Sweep[completeRun]{
		Kind: setaside.CloseRun, Step: func(ctx context.Context, c completeRun) error {
			return s.closeTracked(ctx, c, known)
		}, Workers: s.closers, Share: func(c completeRun) string { return c.provider },
		Name: func(c completeRun) setaside.Element { return setaside.Of(c.id, c.integration) },
		List: func(ctx context.Context, _ int32) ([]completeRun, error) { return s.findComplete(ctx, complete) },
	})
}

// completeRun is an attempt that looks complete.
type completeRun struct {
	key             runs.Attempt
	id, integration uuid.UUID
	provider        string
}

// findComplete finds whose the runs are, and forgets those that are gone.
func (s *Scheduler) findComplete(ctx context.Context, keys []runs.Attempt) ([]completeRun, error) {
	ids := make([]uuid.UUID, 0, len(keys))
	for _, key := range keys {
		if id, err := uuid.Parse(key.Run); err == nil {
			ids = append(ids, id)
		}
	}
	rows, err := s.Store.RunIntegrations(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("read complete runs: %w", err)
	}
	known := make(map[string]*dbsqlc.RunIntegrationsRow, len(rows))
	for _, row := range rows {
		known[row.ID.String()] = row
	}
	found := make([]completeRun, 0, len(keys))
	for _, key := range keys {
		row, ok := known[key.Run]
		if !ok {
			s.Runs.Tracker.Forget(key)
			continue
		}
		found = append(found, completeRun{key: key, id: row.ID, integration: row.IntegrationID, provider: row.Provider})
	}
	return found, nil
}

func (s *Scheduler) closeTracked(ctx context.Context, c completeRun, known setaside.Known) error {
	return s.reducing(ctx, c.integration, s.Runs.Tracker.IsFresh(c.key), known, func(without bool) error {
		settled, err := s.closeRun(ctx, c.id, c.key.Number, without)
		if err != nil {
			return err
		}
		if !settled {
			return setaside.ErrLeft
		}
		s.Runs.Tracker.Forget(c.key)
		return nil
	})
}

// closeRun closes a run whose attempt looks complete. It reports whether there is nothing left to do about the attempt.
func (s *Scheduler) closeRun(ctx context.Context, id uuid.UUID, attempt int32, without bool) (settled bool, err error) {
	started := s.Now()
	c, err := s.Runs.Close(ctx, id, attempt, without)
	if run := c.Closed; run != nil {
		s.Metrics.closed(run, s.Now(), started)
		s.Log.Info("run closed", "run", id, "provider", run.Provider, "state", run.State, "items", run.Items, "done",
			run.Done,
			"dead", run.Dead, "skipped", run.Skipped, "error", run.Error)
		loop.Kick(s.due)
	}
	if c.Repeated != nil {
		s.Metrics.repeated(c.Repeated.Provider)
	}
	return c.Settled, err
}
