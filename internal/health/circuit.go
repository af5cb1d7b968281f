package health

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributaryhq/tributary/internal/announce"
	"github.com/tributaryhq/tributary/internal/circuit"
	"github.com/tributaryhq/tributary/internal/deferral"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// CircuitMoved notes that a circuit has opened or closed, with the event and the incident. To be told of a transition
// twice, or after a later one, changes nothing.
func (k *Keeper) CircuitMoved(ctx context.Context, t circuit.Transition) error {
	id, err := uuid.Parse(t.Integration)
	if err != nil {
		return fmt.Errorf("a circuit of no integration: %w", err)
	}
	now := k.Now()
	return k.Store.InTx(postgres.BoundLocks(ctx, lockWait), func(tx *postgres.Tx) error {
		in, err := tx.IntegrationLock(ctx, id)
		if postgres.NotFound(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("lock integration %s: %w", id, err)
		}
		moved, err := tx.CircuitMove(ctx, dbsqlc.CircuitMoveParams{
			IntegrationID: id, Open: t.Open, Transition: t.Transition, Reason: foreign.Line(t.Reason), Since: t.Since,
			Until: orNil(t.Until),
		})
		if err != nil {
			return fmt.Errorf("note the circuit of %s: %w", id, err)
		}
		if moved == 0 {
			return nil
		}
		return circuitMoved(ctx, tx, in, t, now)
	})
}

func circuitMoved(ctx context.Context, tx *postgres.Tx, in *postgres.Integration, t circuit.Transition,
	now time.Time,
) error {
	name, told := events.CircuitClosed,
		proto.Message(&eventsv1.CircuitClosed{
			Integration: announce.Ref(in), Reason: t.Reason,
			At: timestamppb.New(t.Since),
		})
	if t.Open {
		name, told = events.CircuitOpened, &eventsv1.CircuitOpened{
			Integration: announce.Ref(in), Reason: t.Reason, Until: timestamppb.New(t.Until),
			At: timestamppb.New(t.Since),
		}
	}
	m, err := wire.NewEvent(name, in.Provider, in.ID.String(), fmt.Sprintf("circuit/%s/%d", in.ID, t.Transition), told)
	if err != nil {
		return err
	}
	if err := tx.Publish(ctx, now, postgres.Outgoing(m)); err != nil {
		return err
	}
	if t.Open {
		return Raise(ctx, tx, in, Signal{
			Source: SourceCircuit, Severity: Failing,
			Reason: foreign.Line("the circuit is open: " + t.Reason),
		}, now)
	}
	if err := tx.WaitsEnd(ctx, dbsqlc.WaitsEndParams{
		IntegrationID: in.ID, Cause: string(deferral.Circuit),
		Now: now,
	}); err != nil {
		return fmt.Errorf("end waits of %s: %w", in.ID, err)
	}
	return Clear(ctx, tx, in, SourceCircuit, foreign.Line(t.Reason), now)
}

// CompareCircuits finds what could not be told: transitions that are not noted, because whoever made them has died
// since, and open circuits that the broker has lost, which are opened there again.
func (k *Keeper) CompareCircuits(ctx context.Context, circuits *circuit.Circuits) error {
	known := map[uuid.UUID]circuit.Transition{}
	var ids []uuid.UUID
	for _, t := range circuits.Known() {
		if id, err := uuid.Parse(t.Integration); err == nil {
			known[id], ids = t, append(ids, id)
		}
	}
	rows, err := k.Store.CircuitsNoted(ctx, ids)
	if err != nil {
		return fmt.Errorf("compare circuits: %w", err)
	}
	var problems []error
	for _, row := range rows {
		t, ok := known[row.IntegrationID]
		delete(known, row.IntegrationID)
		switch {
		case ok && t.Transition > row.Transition:
			problems = append(problems, k.CircuitMoved(ctx, t))
		case row.Open && (!ok || t.Transition < row.Transition):
			state := circuit.State{
				Open: true, Transition: row.Transition, Since: row.Since,
				Reason: row.Reason.String(),
			}
			if row.Until != nil {
				state.Until = *row.Until
			}
			problems = append(problems,
				circuits.Restore(ctx, circuit.Transition{
					Provider:    row.Provider,
					Integration: row.IntegrationID.String(), State: state,
				}))
		}
	}
	for _, t := range known {
		problems = append(problems, k.CircuitMoved(ctx, t))
	}
	return errors.Join(problems...)
}

func orNil(at time.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	return &at
}
