package scheduler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/runstate"
	"github.com/tributaryhq/tributary/internal/setaside"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// Open opens a run in the caller's transaction, from a cursor if that is not nil. It returns nil if the integration has
// an open run.
func (s *Scheduler) Open(ctx context.Context, tx *postgres.Tx, in *postgres.Integration, mode runstate.Mode, from contracts.Cursor, now time.Time) (*postgres.Run, error) {
	runs, err := s.open(ctx, tx, []*postgres.Integration{in}, mode, runstate.Commanded, now)
	if err != nil || len(runs) == 0 {
		return nil, err
	}
	if from == nil {
		return runs[0], nil
	}
	if err := tx.RunSetCursorFrom(ctx, string(from), runs[0].ID); err != nil {
		return nil, fmt.Errorf("set where run %s starts from: %w", runs[0].ID, err)
	}
	return runs[0], nil
}

// Cancel closes a run in the caller's transaction, and opens the one that was to follow it.
func (s *Scheduler) Cancel(ctx context.Context, tx *postgres.Tx, integration *postgres.Integration, run *postgres.Run, why foreign.Text, now time.Time) error {
	reached, err := s.reached(ctx, tx, run)
	if err != nil {
		return err
	}
	skips, err := storedSkips(reached.skips)
	if err != nil {
		return err
	}
	closed, err := tx.RunClose(ctx, dbsqlc.RunCloseParams{
		ID: run.ID, Attempt: run.Attempt, State: runstate.Cancelled, Error: why, Items: reached.items, Done: reached.Done, Dead: reached.Dead, Skipped: reached.Skipped,
		SkipReasons: skips, Duplicates: reached.duplicates, Now: &now, ResolvedAt: &now, Resolution: runstate.Resolved,
	})
	if err != nil {
		return fmt.Errorf("cancel run %s: %w", run.ID, err)
	}
	if err := tx.ReceiptDelete(ctx, run.ID); err != nil {
		return fmt.Errorf("delete receipts of run %s: %w", run.ID, err)
	}
	if _, err := tx.DeadSupersedeRuns(ctx, now, []uuid.UUID{run.ID}); err != nil {
		return fmt.Errorf("supersede dead items of run %s: %w", run.ID, err)
	}
	next := now.Add(s.Interval(integration))
	if err := tx.IntegrationSetNextSync(ctx, &next, integration.ID); err != nil {
		return fmt.Errorf("set the next sync: %w", err)
	}
	m, err := logEnd(ctx, tx, integration, closed, now)
	if err != nil {
		return err
	}
	if err := tx.Publish(ctx, now, m); err != nil {
		return err
	}
	return s.followUp(ctx, tx, integration.ID, closed, now)
}

// Wake makes a waiting run due, with a new window.
func (s *Scheduler) Wake(ctx context.Context, tx *postgres.Tx, run *postgres.Run, now time.Time) error {
	return wake(ctx, tx, run, now, &now)
}

// ResetCursor sets the cursor of a locked integration, and returns the event; nil means no cursor.
func (s *Scheduler) ResetCursor(ctx context.Context, tx *postgres.Tx, in *postgres.Integration, to *string, by string, now time.Time) (postgres.Outgoing, error) {
	version, err := tx.IntegrationMoveCursor(ctx, dbsqlc.IntegrationMoveCursorParams{
		ID: in.ID, SyncCursor: to, CursorVersion: in.CursorVersion, Now: now,
	})
	if err != nil {
		return postgres.Outgoing{}, fmt.Errorf("reset the cursor: %w", err)
	}
	return cursorEvent(in, "", string(textOf(to)), by, version, now)
}

// Resolve reduces a closed run whose last dead item has just been skipped. A run that waits for more, or whose provider
// another scheduler has, is left to the sweep.
func (s *Scheduler) Resolve(ctx context.Context, id uuid.UUID) error {
	run, err := s.Store.RunResolvableNow(ctx, id, s.keys)
	if postgres.NotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at run %s: %w", id, err)
	}
	if err := s.resolveOne(ctx, run, false); err != nil && !errors.Is(err, setaside.ErrLeft) {
		return err
	}
	return nil
}

// Progress calls look with what this scheduler has seen of a run's newest attempt, which may be nothing.
func (s *Scheduler) Progress(run *postgres.Run, look func(*checkpoint.Progress)) {
	s.tracked.mu.Lock()
	defer s.tracked.mu.Unlock()
	progress := s.tracked.attempts[attemptOf(run)]
	if progress == nil {
		progress = &checkpoint.Progress{}
	}
	look(progress)
}

// Interval is the time between two syncs of an integration.
func (s *Scheduler) Interval(integration *postgres.Integration) time.Duration {
	if integration.SyncInterval != nil {
		return *integration.SyncInterval
	}
	return s.intervals[integration.Provider]
}

// Kick has the scheduler look at once for what is due, to be published, and complete.
func (s *Scheduler) Kick() {
	kick(s.due)
	kick(s.relay)
	kick(s.tracked.ready)
}
