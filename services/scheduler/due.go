package scheduler

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/setaside"
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
	if len(s.Runs.Providers()) == 0 {
		return 0, nil
	}
	now := s.Now()
	claimed, err = setaside.RunBatch(ctx, s.SetAside, setaside.Batch[*postgres.Integration]{
		Kind: setaside.OpenRun, Most: claimAtATime, Name: nameOfIntegration,
		Claim: func(ctx context.Context, tx *postgres.Tx, most int32, without []uuid.UUID) ([]*postgres.Integration,
			error,
		) {
			rows,
				err := tx.IntegrationClaimDue(ctx, dbsqlc.IntegrationClaimDueParams{
				Now:       &now,
				Providers: s.Runs.Providers(), Without: without, Most: most,
			})
			if err != nil {
				return nil, fmt.Errorf("claim due integrations: %w", err)
			}
			return rows, nil
		},
		Step: func(ctx context.Context, tx *postgres.Tx, rows []*postgres.Integration) error {
			for _, row := range rows {
				s.Metrics.claimed(row.Provider, now.Sub(*row.NextSyncAt))
			}
			return s.Runs.OpenDue(ctx, tx, rows, now)
		},
	})
	if claimed > 0 && err == nil {
		s.Crash("scheduler: runs opened")
	}
	return claimed, err
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
			return s.Runs.Wake(ctx, tx, now, runs...)
		},
	})
}
