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

func (e *Executor) resetCursor(
	ctx context.Context, tx *postgres.Tx, in *postgres.Integration, c *eventsv1.Command,
) (*reply, error) {
	run, err := tx.RunLockOpen(ctx, in.ID)
	if err != nil && !postgres.NotFound(err) {
		return nil, fmt.Errorf("look for an open run: %w", err)
	}
	isOpen := err == nil
	if isOpen && !c.GetCancel() {
		return nil, reject(
			`run %s is open; wait for its end, or have it cancelled first: --cancel, or {"cancel":true} in a message`,
			run.ID,
		)
	}
	now := e.Now()
	if c.To != nil {
		if err := e.checkCursor(in, c.GetTo(), now); err != nil {
			return nil, err
		}
	}
	moved, err := e.Runs.ResetCursor(ctx, tx, in, c.To, c.GetBy(), now)
	if err != nil {
		return nil, err
	}
	done := &reply{result: "reset"}
	if isOpen {
		// The reset comes first, so that a sync which follows the run starts from the new cursor.
		purge, err := e.Cancel(ctx, tx, in, run, c)
		if err != nil {
			return nil, err
		}
		done = &reply{result: "cancelled and reset", run: &run.ID, after: purge}
	}
	return done, tx.Publish(ctx, now, moved)
}

// checkCursor refuses a new cursor that the provider can't take: each of its runs would fail, or find nothing. It
// accepts any cursor of a provider that is not compiled into this process.
func (e *Executor) checkCursor(in *postgres.Integration, to string, now time.Time) error {
	if !json.Valid([]byte(to)) {
		return reject(
			`the cursor %s is not JSON; a string needs its quotes, no cursor is {"to":null}`, foreign.Line(to),
		)
	}
	provider, err := e.Registry.Provider(in.Provider)
	if err != nil {
		return nil //nolint:nilerr // another scheduler may have it
	}
	if err := acceptsCursor(provider, to, now); err != nil {
		panics.Report(e.Log, err, "provider", in.Provider)
		return reject("provider %q does not take %s as a cursor: %s; tributary cursor show %s prints one that it takes",
			in.Provider, foreign.Line(to), foreign.Of(err), in.Name)
	}
	return nil
}

// acceptsCursor makes the checks that the close of a run makes: that of a checkpoint, and the reducer, which compares
// the cursor with the next one unless the provider is a CursorAdvancer.
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
