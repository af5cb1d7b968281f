package scheduler

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/runstate"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// CursorOf is the cursor of a time, from which a run is to start; nil if the integration's own is earlier still. It
// asks the provider.
func (s *Scheduler) CursorOf(integration *postgres.Integration, since time.Time) (contracts.Cursor, error) {
	provider, err := s.Registry.Provider(integration.Provider)
	if err != nil {
		return nil, fmt.Errorf("no scheduler here has provider %q, whose cursor it takes", integration.Provider)
	}
	dater, ok := provider.(contracts.CursorDater)
	if !ok {
		return nil, nil
	}
	from, err := cursorAt(dater, since)
	if err != nil {
		panics.Report(s.Log, err, "provider", integration.Provider)
		return nil, fmt.Errorf("provider %q makes no cursor of the time: %w", integration.Provider, err)
	}
	if integration.SyncCursor == nil {
		return nil, nil
	}
	later, err := advances(provider, integration.SyncCursor, from)
	if err != nil {
		return nil, fmt.Errorf("provider %q can't tell which cursor is earlier: %w", integration.Provider, err)
	}
	if later {
		return nil, nil
	}
	return from, nil
}

// cursorAt asks the provider, whose code may panic, or not return.
func cursorAt(dater contracts.CursorDater, at time.Time) (contracts.Cursor, error) {
	cursor, err := panics.Compute("CursorAt", func() (contracts.Cursor, error) { return dater.CursorAt(at) })
	if err != nil {
		return nil, err
	}
	if cursor, err = contracts.NewCursor(cursor); err != nil || cursor == nil {
		return nil, fmt.Errorf("CursorAt of %s gives no JSON", at)
	}
	return cursor, nil
}

// followUp opens the sync that was asked for while the run was open.
func (s *Scheduler) followUp(ctx context.Context, tx *postgres.Tx, integration uuid.UUID, run *postgres.Run, now time.Time) error {
	if run.FollowUp == nil {
		return nil
	}
	fresh, err := tx.IntegrationGet(ctx, integration)
	if err != nil {
		return fmt.Errorf("read integration %s: %w", integration, err)
	}
	if fresh.Status != "active" {
		// The sync that was asked for comes as soon as the integration is resumed.
		return tx.IntegrationSetNextSync(ctx, &now, integration)
	}
	mode, from := *run.FollowUp, contracts.Cursor(nil)
	if run.FollowUpSince != nil && mode != runstate.Full {
		if from, err = s.CursorOf(fresh, *run.FollowUpSince); err != nil {
			// The run must end, whatever the provider says. A full sync closes every gap.
			s.Log.Warn("a full sync stands for one from an earlier time", "integration", fresh.Name, "provider", fresh.Provider, "since", *run.FollowUpSince, "error", foreign.Of(err))
			mode = runstate.Full
		}
	}
	_, err = s.Open(ctx, tx, fresh, mode, from, now)
	return err
}
