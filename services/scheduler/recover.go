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
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// commandRecover closes a gap: it starts an incremental sync from an earlier time. The cursor stays where it is, or moves on from there.
func (s *Scheduler) commandRecover(ctx context.Context, tx *postgres.Tx, integration *postgres.Integration, c *eventsv1.Command) (*reply, error) {
	if integration.Status != "active" {
		return nil, reject("the integration is %s: %s", integration.Status, orNone(integration.StatusReason))
	}
	since := timeOf(c.GetSince())
	if since == nil || since.After(s.Now()) {
		return nil, reject("since is not a time in the past")
	}
	if provider, err := s.Registry.Provider(integration.Provider); err == nil {
		if !canRecover(provider) {
			return nil, reject("provider %q has no incremental sync from a time (contracts.IncrementalSync and contracts.CursorDater); a full sync closes every gap", integration.Provider)
		}
	}
	open, err := tx.RunLockOpen(ctx, integration.ID)
	if err == nil {
		// The sync follows when the run closes, from the earliest time that was asked for.
		if err := tx.RunFollowUpSince(ctx, *since, open.ID); err != nil {
			return nil, fmt.Errorf("remember the sync: %w", err)
		}
		return &reply{result: "queued-behind", run: &open.ID}, nil
	}
	if !postgres.NotFound(err) {
		return nil, fmt.Errorf("look for an open run: %w", err)
	}
	from, err := s.cursorOf(integration, *since)
	if err != nil {
		return nil, reject("%s", foreign.Of(err))
	}
	runs, err := s.open(ctx, tx, []*postgres.Integration{integration}, runstate.Incremental, runstate.Commanded, s.Now())
	if err != nil {
		return nil, err
	}
	if len(runs) == 0 {
		return nil, reject("a run was opened at this very moment; send the command again")
	}
	started := &reply{result: "started", run: &runs[0].ID}
	if from == nil {
		return started, nil
	}
	return started, setStart(ctx, tx, runs[0], from)
}

func canRecover(provider contracts.Provider) bool {
	_, incremental := provider.(contracts.IncrementalSync)
	_, dates := provider.(contracts.CursorDater)
	return incremental && dates
}

// cursorOf is the cursor of a time, from which a run is to start; nil if the integration's own is earlier still. It
// asks the provider.
func (s *Scheduler) cursorOf(integration *postgres.Integration, since time.Time) (contracts.Cursor, error) {
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

// setStart has a run that was just opened start from a cursor.
func setStart(ctx context.Context, tx *postgres.Tx, run *postgres.Run, from contracts.Cursor) error {
	if err := tx.RunSetCursorFrom(ctx, string(from), run.ID); err != nil {
		return fmt.Errorf("set where run %s starts from: %w", run.ID, err)
	}
	return nil
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
		if from, err = s.cursorOf(fresh, *run.FollowUpSince); err != nil {
			// The run must end, whatever the provider says. A full sync closes every gap.
			s.Log.Warn("a full sync stands for one from an earlier time", "integration", fresh.Name, "provider", fresh.Provider, "since", *run.FollowUpSince, "error", foreign.Of(err))
			mode = runstate.Full
		}
	}
	runs, err := s.open(ctx, tx, []*postgres.Integration{fresh}, mode, runstate.Commanded, now)
	if err != nil || len(runs) == 0 || from == nil {
		return err
	}
	return setStart(ctx, tx, runs[0], from)
}
