package scheduler

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/setaside"
)

// tracker follows the attempts of open runs in the bucket, and says which are complete.
type tracker struct {
	mu       sync.Mutex
	attempts map[attemptKey]*checkpoint.Progress
	complete map[attemptKey]struct{}
	// fresh are those that became complete under this process's eyes: none of them has ended a process before.
	fresh map[attemptKey]struct{}
	ready chan struct{}
	// live says that all that the bucket held at the start has been seen.
	live atomic.Bool
}

type attemptKey struct {
	run     string
	attempt int32
}

func attemptOf(run *postgres.Run) attemptKey {
	return attemptKey{run: run.ID.String(), attempt: run.Attempt}
}

func newTracker() *tracker {
	return &tracker{attempts: map[attemptKey]*checkpoint.Progress{}, complete: map[attemptKey]struct{}{}, fresh: map[attemptKey]struct{}{}, ready: make(chan struct{}, 1)}
}

func (t *tracker) apply(u checkpoint.Update) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := attemptKey{run: u.Key.Run, attempt: u.Key.Attempt}
	progress := t.attempts[key]
	if progress == nil {
		progress = &checkpoint.Progress{}
		t.attempts[key] = progress
	}
	progress.Apply(u)
	if progress.Complete() {
		if _, before := t.complete[key]; !before && t.live.Load() {
			t.fresh[key] = struct{}{}
		}
		t.complete[key] = struct{}{}
		kick(t.ready)
	}
}

// caughtUp says that what comes from now on is news.
func (t *tracker) caughtUp() { t.live.Store(true) }

func (t *tracker) isFresh(key attemptKey) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, fresh := t.fresh[key]
	return fresh
}

// take returns the attempts that are complete.
func (t *tracker) take() []attemptKey {
	t.mu.Lock()
	defer t.mu.Unlock()
	keys := make([]attemptKey, 0, len(t.complete))
	for key := range t.complete {
		keys = append(keys, key)
	}
	return keys
}

// forget drops an attempt that is closed, and with it the lower attempts of its run.
func (t *tracker) forget(key attemptKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for other := range t.attempts {
		if other.run == key.run && other.attempt <= key.attempt {
			delete(t.attempts, other)
			delete(t.complete, other)
			delete(t.fresh, other)
		}
	}
}

// runs lists the runs that are tracked.
func (t *tracker) runs() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	runs := make([]string, 0, len(t.attempts))
	for key := range t.attempts {
		runs = append(runs, key.run)
	}
	return runs
}

// drop forgets runs whole.
func (t *tracker) drop(runs map[string]bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key := range t.attempts {
		if runs[key.run] {
			delete(t.attempts, key)
			delete(t.complete, key)
			delete(t.fresh, key)
		}
	}
}

// watch follows the whole bucket. Completion is seen within about a millisecond of the last outcome.
func (s *Scheduler) watch(ctx context.Context) error {
	return s.Checkpoints.Watch(ctx, "", 0, func(u checkpoint.Update) {
		if s.tracked.live.Load() {
			s.Metrics.checkpointSeen(s.Now().Sub(u.At))
		}
		s.tracked.apply(u)
	}, s.tracked.caughtUp)
}

// closeReady closes the runs that look complete.
func (s *Scheduler) closeReady(ctx context.Context) error {
	complete := slices.DeleteFunc(s.tracked.take(), func(key attemptKey) bool { return s.closers.Has(setaside.CloseRun, key.run) })
	if len(complete) == 0 {
		return nil
	}
	known, err := s.SetAside.Load(ctx, setaside.Reduce)
	if err != nil {
		return err
	}
	return setaside.Run(ctx, s.SetAside, setaside.Sweep[completeRun]{
		Kind: setaside.CloseRun, Step: func(ctx context.Context, c completeRun) error { return s.closeTracked(ctx, c, known) }, Workers: s.closers, Share: func(c completeRun) string { return c.provider },
		Name: func(c completeRun) setaside.Element { return setaside.Of(c.id, c.integration) },
		List: func(ctx context.Context, _ int32) ([]completeRun, error) { return s.findComplete(ctx, complete) },
	})
}

// completeRun is an attempt that looks complete.
type completeRun struct {
	key             attemptKey
	id, integration uuid.UUID
	provider        string
}

// findComplete finds whose the runs are, and forgets those that are gone.
func (s *Scheduler) findComplete(ctx context.Context, keys []attemptKey) ([]completeRun, error) {
	ids := make([]uuid.UUID, 0, len(keys))
	for _, key := range keys {
		if id, err := uuid.Parse(key.run); err == nil {
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
		row, ok := known[key.run]
		if !ok {
			s.tracked.forget(key)
			continue
		}
		found = append(found, completeRun{key: key, id: row.ID, integration: row.IntegrationID, provider: row.Provider})
	}
	return found, nil
}

func (s *Scheduler) closeTracked(ctx context.Context, c completeRun, known setaside.Known) error {
	return s.reducing(ctx, c.integration, s.tracked.isFresh(c.key), known, func(without bool) error {
		settled, err := s.closeRun(ctx, c.id, c.key.attempt, without)
		if err != nil {
			return err
		}
		if !settled {
			return setaside.ErrLeft
		}
		s.tracked.forget(c.key)
		return nil
	})
}
