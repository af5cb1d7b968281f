package runs

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/runstate"
	"github.com/tributaryhq/tributary/internal/setaside"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// Resolve reduces a closed run that has no unresolved dead item any more, and moves the cursor if that is forward.
// Without the reducer, it counts as failed. It returns setaside.ErrLeft if the integration has an open run.
func (s *Store) Resolve(ctx context.Context, run *postgres.Run, without bool) error {
	provider, err := s.Registry.Provider(run.Provider)
	if err != nil {
		return err
	}
	reducer, ok := provider.(contracts.ScheduledSync)
	if !ok {
		return nil
	}
	if without {
		return s.reduceFailed(ctx, run, ErrDeadly)
	}
	rows, err := s.Postgres.RunCheckpointList(ctx, run.ID, run.Attempt)
	if err != nil {
		return fmt.Errorf("read kept checkpoints: %w", err)
	}
	checkpoints := make([]contracts.Checkpoint, 0, len(rows))
	for _, row := range rows {
		checkpoints = append(checkpoints, orNil(textOf(row.Checkpoint)))
	}
	candidate, err := checkpoint.Reduce(reducer, checkpoints)
	if err != nil {
		return s.reduceFailed(ctx, run, err)
	}
	s.Crash("scheduler: before late reduce")
	return s.commitLate(ctx, run, provider, candidate)
}

// commitLate is the one transaction that resolves a run, and moves the cursor to the candidate if that is forward.
func (s *Store) commitLate(ctx context.Context, run *postgres.Run, provider contracts.Provider,
	candidate contracts.Cursor,
) error {
	err := s.Postgres.InTx(ctx, func(tx *postgres.Tx) error {
		now := s.Now()
		integration, err := tx.IntegrationLock(ctx, run.IntegrationID)
		if err != nil {
			return fmt.Errorf("lock integration: %w", err)
		}
		locked, err := tx.RunLock(ctx, run.ID)
		if err != nil || locked.ResolvedAt != nil {
			return err
		}
		if _, err := tx.RunGetOpen(ctx, run.IntegrationID); !postgres.NotFound(err) {
			// A later run is open: after its close.
			return cmp.Or(err, setaside.ErrLeft)
		}
		var messages []postgres.Outgoing
		if integration.CursorVersion == run.CursorVersion && len(candidate) > 0 {
			forward, err := advances(provider, integration.SyncCursor, candidate)
			if err != nil {
				return err
			}
			if forward {
				if messages, err = moveCursorTo(ctx, tx, integration, run.ID.String(), string(candidate),
					now); err != nil {
					return err
				}
			}
		}
		if _, err := tx.RunResolve(ctx, dbsqlc.RunResolveParams{
			ID: run.ID, Resolution: runstate.Resolved,
			Now: &now,
		}); err != nil {
			return err
		}
		if err := tx.RunCheckpointDelete(ctx, []uuid.UUID{run.ID}); err != nil {
			return err
		}
		s.Log.Info("run resolved", "run", run.ID, "provider", run.Provider, "cursor_moved", len(messages) > 0)
		return tx.Publish(ctx, now, messages...)
	})
	if errors.Is(err, checkpoint.ErrReducer) {
		return s.reduceFailed(ctx, run, err)
	}
	return err
}

// reduceFailed keeps a run's checkpoints until an operator has mended the reducer and asks for a retry.
func (s *Store) reduceFailed(ctx context.Context, run *postgres.Run, cause error) error {
	panics.Report(s.Log, cause, "run", run.ID)
	s.Log.Error("late reduce failed; after mending the reducer send the command retry with all", "run", run.ID, "error",
		cause)
	_, err := s.Postgres.RunSetReduceFailed(ctx, dbsqlc.RunSetReduceFailedParams{
		IntegrationID: run.IntegrationID,
		ID:            &run.ID, ReduceFailed: true, Error: foreign.Of(cause),
	})
	return err
}
