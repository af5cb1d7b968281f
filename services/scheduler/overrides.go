package scheduler

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributaryhq/tributary/internal/circuit"
	"github.com/tributaryhq/tributary/internal/deferral"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/setaside"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// endOverrides takes away the overrides whose time is over. Requests have not heeded them since; this is for who looks, and tells of it.
func (s *Scheduler) endOverrides(ctx context.Context) error {
	now := s.Now()
	_, err := setaside.RunBatch(ctx, s.SetAside, setaside.Batch[*postgres.Integration]{
		Kind: setaside.EndOverride, Most: sweepAtATime, Name: nameOfIntegration,
		Claim: func(ctx context.Context, tx *postgres.Tx, most int32, without []uuid.UUID) ([]*postgres.Integration, error) {
			rows, err := tx.IntegrationOverridesEnded(ctx, dbsqlc.IntegrationOverridesEndedParams{Now: now, Without: without, Most: most})
			if err != nil {
				return nil, fmt.Errorf("look for overrides that have ended: %w", err)
			}
			return rows, nil
		},
		Step: func(ctx context.Context, tx *postgres.Tx, rows []*postgres.Integration) error {
			for _, row := range rows {
				if err := s.endOverride(ctx, tx, row, now); err != nil {
					return err
				}
			}
			return nil
		},
	})
	return err
}

func (s *Scheduler) endOverride(ctx context.Context, tx *postgres.Tx, row *postgres.Integration, now time.Time) error {
	if row.RateUntil != nil && !row.RateUntil.After(now) {
		if err := s.setRate(ctx, tx, row, dbsqlc.IntegrationSetRateParams{}, "rate-limit-ended", ""); err != nil {
			return err
		}
	}
	if row.CircuitUntil != nil && !row.CircuitUntil.After(now) {
		return s.setCircuit(ctx, tx, row, circuit.Auto, nil, "its time has ended", "")
	}
	return nil
}

// setRate sets or clears a request budget of an integration that is locked, and tells of it.
func (s *Scheduler) setRate(ctx context.Context, tx *postgres.Tx, row *postgres.Integration, p dbsqlc.IntegrationSetRateParams, what, by string) error {
	p.ID, p.Now = row.ID, s.Now()
	changed, err := tx.IntegrationSetRate(ctx, p)
	if err != nil {
		return fmt.Errorf("set the budget of %s: %w", row.ID, err)
	}
	if err := tx.WaitsEnd(ctx, waitEnded(row.ID, deferral.Budget, p.Now)); err != nil {
		return fmt.Errorf("end waits of %s: %w", row.ID, err)
	}
	return s.publishChange(ctx, tx, changed, what, by)
}

// setCircuit overrides the circuit of an integration that is locked, and tells of it.
func (s *Scheduler) setCircuit(ctx context.Context, tx *postgres.Tx, row *postgres.Integration, override circuit.Override, until *time.Time, reason, by string) error {
	now := s.Now()
	changed, err := tx.IntegrationSetCircuit(ctx, dbsqlc.IntegrationSetCircuitParams{ID: row.ID, CircuitOverride: string(override), CircuitUntil: until, Now: now})
	if err != nil {
		return fmt.Errorf("override the circuit of %s: %w", row.ID, err)
	}
	if override != circuit.ForcedOpen {
		if err := tx.WaitsEnd(ctx, waitEnded(row.ID, deferral.Circuit, now)); err != nil {
			return fmt.Errorf("end waits of %s: %w", row.ID, err)
		}
	}
	told := &eventsv1.CircuitOverridden{Integration: ref(changed), Override: string(override), By: by, Reason: reason}
	if until != nil {
		told.Until = timestamppb.New(*until)
	}
	m, err := event(events.CircuitOverridden, changed, told)
	if err != nil {
		return err
	}
	return tx.Publish(ctx, now, m)
}

// compareCircuits finds transitions that were not told of.
func (s *Scheduler) compareCircuits(ctx context.Context) error {
	if s.Circuits == nil || s.Health == nil {
		return nil
	}
	return s.Health.CompareCircuits(ctx, s.Circuits)
}
