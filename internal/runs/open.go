package runs

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributaryhq/tributary/internal/announce"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/runstate"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// Open opens a run in the caller's transaction, from a cursor if that is not nil. It returns nil if the integration has
// an open run.
func (s *Store) Open(ctx context.Context, tx *postgres.Tx, in *postgres.Integration, mode runstate.Mode,
	from contracts.Cursor, now time.Time,
) (*postgres.Run, error) {
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

// open opens runs in the caller's transaction, with their due messages and their events run-started. An integration
// that has an open run gets no second one.
func (s *Store) open(ctx context.Context, tx *postgres.Tx, integrations []*postgres.Integration, mode runstate.Mode,
	cause runstate.Cause, now time.Time,
) ([]*postgres.Run, error) {
	p := dbsqlc.RunInsertManyParams{Mode: string(mode), Cause: string(cause), Now: now}
	byID := make(map[uuid.UUID]*postgres.Integration, len(integrations))
	for _, integration := range integrations {
		p.Ids = append(p.Ids, postgres.NewID())
		p.IntegrationIds = append(p.IntegrationIds, integration.ID)
		p.Traces = append(p.Traces, s.traceOfNewRun(ctx, integration))
		byID[integration.ID] = integration
	}
	runs, err := tx.RunInsertMany(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("open runs: %w", err)
	}
	messages := make([]postgres.Outgoing, 0, 2*len(runs))
	for _, run := range runs {
		due, err := dueMessage(run)
		if err != nil {
			return nil, err
		}
		started, err := announce.Event(events.RunStarted, byID[run.IntegrationID], &eventsv1.RunStarted{
			Integration: announce.Ref(byID[run.IntegrationID]), RunId: run.ID.String(), Mode: string(mode),
			Cause: string(cause), At: timestamppb.New(now),
		})
		if err != nil {
			return nil, err
		}
		messages = append(messages, due, started)
	}
	return runs, tx.Publish(ctx, now, messages...)
}

// OpenDue opens scheduled runs in the caller's transaction, and sets when their integrations are due next. An
// integration that has an open run gets no second one.
func (s *Store) OpenDue(ctx context.Context, tx *postgres.Tx, integrations []*postgres.Integration,
	now time.Time,
) error {
	ids := make([]uuid.UUID, 0, len(integrations))
	nexts := make([]time.Time, 0, len(integrations))
	for _, row := range integrations {
		ids = append(ids, row.ID)
		nexts = append(nexts, now.Add(s.Interval(row)))
	}
	if err := tx.IntegrationSetNextSyncMany(ctx, ids, nexts); err != nil {
		return fmt.Errorf("move the next sync: %w", err)
	}
	_, err := s.open(ctx, tx, integrations, runstate.Incremental, runstate.Scheduled, now)
	return err
}

// followUp opens the sync that was asked for while the run was open.
func (s *Store) followUp(ctx context.Context, tx *postgres.Tx, integration uuid.UUID, run *postgres.Run,
	now time.Time,
) error {
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
			s.Log.Warn("a full sync stands for one from an earlier time", "integration", fresh.Name, "provider",
				fresh.Provider, "since", *run.FollowUpSince, "error", foreign.Of(err))
			mode = runstate.Full
		}
	}
	_, err = s.Open(ctx, tx, fresh, mode, from, now)
	return err
}
