package itemworker

import (
	"context"
	"errors"
	"fmt"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/deaditems"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// writeRedrive writes what became of a dead item that was given another go. Its fate is in Postgres alone, written after its effects: a database that went
// back to an earlier state has the item as it was before the redrive.
func (j *job) writeRedrive(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	u := &j.unwritten
	switch {
	case len(u.hops) > 0:
		item := u.hops[0].items[0]
		err = j.publish(ctx, u.hops[0])
		if errors.Is(err, bus.ErrTooLarge) {
			u.hops, u.dead = nil, []deaditems.Dead{{Item: item, Reason: reasonTooLarge, Error: foreign.Of(err)}}
			return err
		}
		if err == nil {
			err = j.noteHop(ctx, item)
		}
	case len(u.dead) > 0:
		d := u.dead[0]
		var reopened bool
		if reopened, err = deaditems.Reopen(ctx, j.worker.Store, j.worker.Now(), *j.redrive, d); reopened {
			j.worker.Log.Warn("an item that was retried is dead again", "item", *j.redrive, "event", d.Item.GetEventType(), "external_id", d.Item.GetExternalId(),
				"reason", d.Reason, "error", d.Error)
		}
	default:
		err = j.resolve(ctx, u.finished[0])
	}
	if err != nil {
		return fmt.Errorf("write what became of dead item %s: %w", j.redrive, err)
	}
	*u = unwritten{}
	return nil
}

func (j *job) resolve(ctx context.Context, r result) error {
	status, note := "resolved", foreign.Text("")
	if r.state == eventsv1.OutcomeState_OUTCOME_STATE_SKIPPED {
		status, note = "skipped", r.reason
	}
	_, err := j.worker.Store.DeadResolve(ctx, dbsqlc.DeadResolveParams{
		ID: *j.redrive, Status: status, ResolvedBy: "retry", Note: note, FromStatuses: []string{"redriving"}, Now: j.worker.Now(),
	})
	j.worker.Crash("item-worker: dead item resolved")
	return err
}
