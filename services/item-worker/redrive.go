package itemworker

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/deaditems"
	"github.com/tributaryhq/tributary/internal/fate"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// inRow keeps the outcome of a dead item that is retried in its row. It is in Postgres alone, written after its
// effects: a database that went back to an earlier state has the item as it was before the retry.
type inRow struct {
	ofRun
	id uuid.UUID
}

// accepts is true: the row's state decides, which was read when the batch was admitted.
func (inRow) accepts(*dbsqlc.RunAcceptsRow) bool { return true }

// lacks is true: the bucket has no outcome of a dead item.
func (inRow) lacks(*eventsv1.Item) bool { return true }

// check is nil: what comes from a row can be stored.
func (inRow) check(*eventsv1.Item) error { return nil }

// Receive writes nothing: a dead item has no receipt.
func (inRow) Receive(context.Context, *postgres.Tx, []*eventsv1.Item) error { return nil }

func (o inRow) write(ctx context.Context) error {
	o.try(ctx, o.writeRow)
	return nil
}

func (o inRow) writeRow(ctx context.Context) (err error) {
	j, u := o.job, &o.unwritten
	switch {
	case len(u.hops) > 0:
		item := u.hops[0].items[0]
		err = j.publish(ctx, u.hops[0])
		if errors.Is(err, bus.ErrTooLarge) {
			u.hops, u.dead = nil, []deaditems.Dead{{Item: item, Reason: fate.TooLarge, Error: foreign.Of(err)}}
			return err
		}
		if err == nil {
			err = o.noteHop(ctx, item)
		}
	case len(u.dead) > 0:
		d := u.dead[0]
		var reopened bool
		if reopened, err = deaditems.Reopen(ctx, j.worker.Store, j.worker.Now(), o.id, d); reopened {
			j.worker.Log.Warn("an item that was retried is dead again", "item", o.id, "event", d.Item.GetEventType(),
				"external_id", d.Item.GetExternalId(),
				"reason", d.Reason, "error", d.Error)
		}
	default:
		err = o.resolve(ctx, u.finished[0])
	}
	if err != nil {
		return fmt.Errorf("write what became of dead item %s: %w", o.id, err)
	}
	*u = unwritten{}
	return nil
}

func (o inRow) resolve(ctx context.Context, r result) error {
	status, note := "resolved", foreign.Text("")
	if r.state == eventsv1.OutcomeState_OUTCOME_STATE_SKIPPED {
		status, note = "skipped", r.reason
	}
	_, err := o.worker.Store.DeadResolve(ctx, dbsqlc.DeadResolveParams{
		ID: o.id, Status: status, ResolvedBy: "retry", Note: note, FromStatuses: []string{"redriving"},
		Now: o.worker.Now(),
	})
	o.worker.Crash("item-worker: dead item resolved")
	return err
}

func (o inRow) noteHop(ctx context.Context, next *eventsv1.Item) error {
	_, err := o.worker.Store.DeadHop(ctx, dbsqlc.DeadHopParams{
		ID: o.id, Hop: next.GetHop() - 1, NextHop: next.GetHop(),
		Now: o.worker.Now(),
	})
	return err
}
