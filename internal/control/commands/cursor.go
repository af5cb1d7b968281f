package commands

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/pkg/contracts"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

func (e *Executor) resetCursor(ctx context.Context, tx *postgres.Tx, integration *postgres.Integration, c *eventsv1.Command) (*reply, error) {
	run, err := tx.RunLockOpen(ctx, integration.ID)
	if err != nil && !postgres.NotFound(err) {
		return nil, fmt.Errorf("look for an open run: %w", err)
	}
	isOpen := err == nil
	if isOpen && !c.GetCancel() {
		return nil, reject(`run %s is open; wait for its end, or have it cancelled first: --cancel, or {"cancel":true} in a message`, run.ID)
	}
	now := e.Now()
	if c.To != nil {
		if err := e.checkCursor(integration, c.GetTo(), now); err != nil {
			return nil, err
		}
	}
	moved, err := e.Runs.ResetCursor(ctx, tx, integration, c.To, c.GetBy(), now)
	if err != nil {
		return nil, err
	}
	done := &reply{result: "reset"}
	if isOpen {
		// After the reset, so that a sync which waits for the run's end starts from the new cursor.
		purge, err := e.Cancel(ctx, tx, integration, run, c)
		if err != nil {
			return nil, err
		}
		done = &reply{result: "cancelled and reset", run: &run.ID, after: purge}
	}
	return done, tx.Publish(ctx, now, moved)
}

// checkCursor refuses a new cursor that the provider can't take: each of its runs would fail, or would find nothing.
// A provider that only another scheduler has is not asked.
func (e *Executor) checkCursor(integration *postgres.Integration, to string, now time.Time) error {
	if !json.Valid([]byte(to)) {
		return reject(`the cursor %s is not JSON; a string needs its quotes, no cursor is {"to":null}`, foreign.Line(to))
	}
	provider, err := e.Registry.Provider(integration.Provider)
	if err != nil {
		return nil //nolint:nilerr // another scheduler may have it
	}
	if err := acceptsCursor(provider, to, now); err != nil {
		panics.Report(e.Log, err, "provider", integration.Provider)
		return reject("provider %q does not take %s as a cursor: %s; tributary cursor show %s prints one that it takes",
			integration.Provider, foreign.Line(to), foreign.Of(err), integration.Name)
	}
	return nil
}

// acceptsCursor asks what the end of a run asks of a cursor: the check of a checkpoint, and the reducer, which compares
// the cursor with the next one unless the provider has a rule of its own.
func acceptsCursor(provider contracts.Provider, to string, now time.Time) error {
	cursor := contracts.Checkpoint(to)
	_, err := panics.Compute("CheckCheckpoint", func() (contracts.Cursor, error) {
		if checker, ok := provider.(contracts.CheckpointChecker); ok {
			return nil, checker.CheckCheckpoint(cursor, now)
		}
		return nil, nil
	})
	reducer, ok := provider.(contracts.ScheduledSync)
	if _, ruled := provider.(contracts.CursorAdvancer); err != nil || ruled || !ok {
		return err
	}
	_, err = panics.Compute("ReduceCheckpoints", func() (contracts.Cursor, error) {
		return reducer.ReduceCheckpoints([]contracts.Checkpoint{cursor})
	})
	return err
}
