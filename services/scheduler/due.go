package scheduler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/runstate"
	"github.com/tributaryhq/tributary/internal/setaside"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

const claimAtATime = 100

// claimDue opens a run for every integration that is due, and wakes the runs whose waiting is over.
func (s *Scheduler) claimDue(ctx context.Context) error {
	for more := true; more && ctx.Err() == nil; {
		claimed, claiming := s.claimSome(ctx)
		woken, waking := s.wakeSome(ctx)
		// Neither list stops the other.
		if err := errors.Join(claiming, waking); err != nil {
			return err
		}
		more = claimed == claimAtATime || woken == claimAtATime
	}
	return nil
}

func (s *Scheduler) claimSome(ctx context.Context) (claimed int, err error) {
	if len(s.keys) == 0 {
		return 0, nil
	}
	now := s.Now()
	claimed, err = setaside.RunBatch(ctx, s.SetAside, setaside.Batch[*postgres.Integration]{
		Kind: setaside.OpenRun, Most: claimAtATime, Name: nameOfIntegration,
		Claim: func(ctx context.Context, tx *postgres.Tx, most int32, without []uuid.UUID) ([]*postgres.Integration, error) {
			rows, err := tx.IntegrationClaimDue(ctx, dbsqlc.IntegrationClaimDueParams{Now: &now, Providers: s.keys, Without: without, Most: most})
			if err != nil {
				return nil, fmt.Errorf("claim due integrations: %w", err)
			}
			return rows, nil
		},
		Step: func(ctx context.Context, tx *postgres.Tx, rows []*postgres.Integration) error {
			ids := make([]uuid.UUID, 0, len(rows))
			nexts := make([]time.Time, 0, len(rows))
			for _, row := range rows {
				s.Metrics.claimed(row.Provider, now.Sub(*row.NextSyncAt))
				ids = append(ids, row.ID)
				nexts = append(nexts, now.Add(s.Interval(row)))
			}
			if err := tx.IntegrationSetNextSyncMany(ctx, ids, nexts); err != nil {
				return fmt.Errorf("move the next sync: %w", err)
			}
			_, err := s.open(ctx, tx, rows, runstate.Incremental, runstate.Scheduled, now)
			return err
		},
	})
	if claimed > 0 && err == nil {
		s.Crash("scheduler: runs opened")
	}
	return claimed, err
}

// open opens runs in the caller's transaction, with their due and run-started events. An integration that has an open run gets no second one.
func (s *Scheduler) open(ctx context.Context, tx *postgres.Tx, integrations []*postgres.Integration, mode runstate.Mode, cause runstate.Cause, now time.Time) ([]*postgres.Run, error) {
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
		started, err := event(events.RunStarted, byID[run.IntegrationID], &eventsv1.RunStarted{
			Integration: ref(byID[run.IntegrationID]), RunId: run.ID.String(), Mode: string(mode), Cause: string(cause), At: timestamppb.New(now),
		})
		if err != nil {
			return nil, err
		}
		messages = append(messages, due, started)
	}
	return runs, tx.Publish(ctx, now, messages...)
}

func (s *Scheduler) wakeSome(ctx context.Context) (woken int, err error) {
	now := s.Now()
	return setaside.RunBatch(ctx, s.SetAside, setaside.Batch[*postgres.Run]{
		Kind: setaside.WakeRun, Most: claimAtATime, Name: nameOfRun,
		Claim: func(ctx context.Context, tx *postgres.Tx, most int32, without []uuid.UUID) ([]*postgres.Run, error) {
			runs, err := tx.RunWaitingDue(ctx, dbsqlc.RunWaitingDueParams{Now: &now, Without: without, Most: most})
			if err != nil {
				return nil, fmt.Errorf("claim waiting runs: %w", err)
			}
			return runs, nil
		},
		Step: func(ctx context.Context, tx *postgres.Tx, runs []*postgres.Run) error {
			for _, run := range runs {
				if err := wake(ctx, tx, run, now, nil); err != nil {
					return err
				}
			}
			return nil
		},
	})
}

// wake makes a run due again as its next attempt. windowFrom, when given, starts the window of its enumerations afresh.
func wake(ctx context.Context, tx *postgres.Tx, run *postgres.Run, now time.Time, windowFrom *time.Time) error {
	woken, err := tx.RunWake(ctx, dbsqlc.RunWakeParams{ID: run.ID, Attempt: run.Attempt, Wake: run.Wake, Now: now, WindowFrom: windowFrom})
	if postgres.NotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("wake run %s: %w", run.ID, err)
	}
	due, err := dueMessage(woken)
	if err != nil {
		return err
	}
	return tx.Publish(ctx, now, due)
}

// dueMessage asks for the run's next attempt. Its id has the wake in it, for the broker drops an id that it has seen.
func dueMessage(run *postgres.Run) (postgres.Outgoing, error) {
	// Syncers of older versions start this attempt; newer ones compare the wake.
	attempt := run.Attempt + 1
	m, err := events.NewWork(events.SyncDueSubject(run.Provider, run.IntegrationID.String()), fmt.Sprintf("%s/%d/%d", run.ID, attempt, run.Wake),
		&eventsv1.SyncDue{RunId: run.ID.String(), IntegrationId: run.IntegrationID.String(), Provider: run.Provider, Attempt: attempt, Wake: run.Wake})
	if err == nil && run.Trace != "" {
		m.Header[traceHeader] = run.Trace
	}
	return postgres.Outgoing(m), err
}
