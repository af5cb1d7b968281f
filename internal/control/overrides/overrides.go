// Package overrides keeps what an operator decides for the requests of an integration: its request budget, and the
// state of its circuit. An override may have an end. The API sets and clears overrides, and housekeeping ends them.
package overrides

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributaryhq/tributary/internal/announce"
	"github.com/tributaryhq/tributary/internal/circuit"
	"github.com/tributaryhq/tributary/internal/deferral"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// Budget is a change of an integration's request budget.
type Budget struct {
	// Set has the limit; its zero value clears the override. The id and the time are filled in.
	Set dbsqlc.IntegrationSetRateParams
	// What names the change in the event, By the operator.
	What, By string
}

// Circuit is a change of an integration's circuit.
type Circuit struct {
	Override circuit.Override
	// Until is when the override ends by itself; nil means never.
	Until      *time.Time
	Reason, By string
}

// End clears the overrides of a locked integration whose time is over. Requests have ignored them since; this corrects
// what operators see, and publishes the events.
func End(ctx context.Context, tx *postgres.Tx, row *postgres.Integration, now time.Time) error {
	if row.RateUntil != nil && !row.RateUntil.After(now) {
		if err := SetBudget(ctx, tx, row, Budget{What: "rate-limit-ended"}, now); err != nil {
			return err
		}
	}
	if row.CircuitUntil != nil && !row.CircuitUntil.After(now) {
		return SetCircuit(ctx, tx, row, Circuit{Override: circuit.Auto, Reason: "its time has ended"}, now)
	}
	return nil
}

// SetBudget changes the request budget of a locked integration, ends the waits for its budget, and publishes the event.
func SetBudget(ctx context.Context, tx *postgres.Tx, row *postgres.Integration, b Budget, now time.Time) error {
	b.Set.ID, b.Set.Now = row.ID, now
	changed, err := tx.IntegrationSetRate(ctx, b.Set)
	if err != nil {
		return fmt.Errorf("set the budget of %s: %w", row.ID, err)
	}
	if err := tx.WaitsEnd(
		ctx, dbsqlc.WaitsEndParams{IntegrationID: row.ID, Cause: string(deferral.Budget), Now: now},
	); err != nil {
		return fmt.Errorf("end waits of %s: %w", row.ID, err)
	}
	return announce.Publish(ctx, tx, now, events.IntegrationChanged, changed, &eventsv1.IntegrationChanged{
		Integration: announce.Ref(changed), What: b.What, By: b.By,
	})
}

// SetCircuit overrides the circuit of a locked integration, ends the waits for it if requests may go out again, and
// publishes the event.
func SetCircuit(ctx context.Context, tx *postgres.Tx, row *postgres.Integration, c Circuit, now time.Time) error {
	changed, err := tx.IntegrationSetCircuit(ctx, dbsqlc.IntegrationSetCircuitParams{
		ID: row.ID, CircuitOverride: string(c.Override), CircuitUntil: c.Until, Now: now,
	})
	if err != nil {
		return fmt.Errorf("override the circuit of %s: %w", row.ID, err)
	}
	if c.Override != circuit.ForcedOpen {
		if err := tx.WaitsEnd(
			ctx, dbsqlc.WaitsEndParams{IntegrationID: row.ID, Cause: string(deferral.Circuit), Now: now},
		); err != nil {
			return fmt.Errorf("end waits of %s: %w", row.ID, err)
		}
	}
	told := &eventsv1.CircuitOverridden{
		Integration: announce.Ref(changed), Override: string(c.Override), By: c.By, Reason: c.Reason,
	}
	if c.Until != nil {
		told.Until = timestamppb.New(*c.Until)
	}
	return announce.Publish(ctx, tx, now, events.CircuitOverridden, changed, told)
}
