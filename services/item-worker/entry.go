package itemworker

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/deaditems"
	"github.com/tributaryhq/tributary/internal/fate"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/items"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/contracts"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// inEntry keeps the outcomes of a batch in its entry of the bucket.
type inEntry struct{ ofRun }

func (o inEntry) accepts(run *dbsqlc.RunAcceptsRow) bool {
	return !run.Closed && run.Attempt == o.Batch.GetAttempt()
}

// lacks reports whether the entry has no outcome of the item. A retrying one speaks of this message only if this
// message sent the item on.
func (o inEntry) lacks(item *eventsv1.Item) bool {
	outcome := checkpoint.Find(o.cell.Entry(), item.GetIndex())
	sentOn := outcome.GetState() == eventsv1.OutcomeState_OUTCOME_STATE_RETRYING && outcome.GetHop() > item.GetHop()
	return !checkpoint.Finished(outcome.GetState()) && !sentOn
}

func (inEntry) check(item *eventsv1.Item) error { return items.Check(item) }

func (o inEntry) Receive(ctx context.Context, tx *postgres.Tx, items []*eventsv1.Item) error {
	receipt, err := o.receipt(items)
	if err != nil {
		return err
	}
	return tx.AddReceipts(ctx, receipt)
}

// write tries each kind of outcome by itself, so that what one store refuses keeps nothing else waiting. What is done
// comes first.
func (o inEntry) write(ctx context.Context) error {
	o.try(ctx, o.writeFinished)
	o.try(ctx, o.writeDead)
	if errors.Is(o.unwritten.why, errRefused) {
		return errRefused
	}
	o.try(ctx, o.writeEntry)
	if len(o.unwritten.hops) > 0 {
		o.try(ctx, o.writeHops)
		o.try(ctx, o.writeEntry)
	}
	return nil
}

// stored is the entry that outcomes are added to once their effects are stored.
func (o inEntry) stored() *eventsv1.Entry {
	if o.unwritten.entry == nil {
		o.unwritten.entry = o.newEntry()
	}
	return o.unwritten.entry
}

// writeFinished writes a receipt for what is done or skipped, where its effects were not committed with one.
func (o inEntry) writeFinished(ctx context.Context) error {
	finished := o.unwritten.finished
	if len(finished) == 0 {
		return nil
	}
	var items []*eventsv1.Item
	for _, r := range finished {
		if !r.received {
			items = append(items, r.item)
		}
	}
	if len(items) > 0 {
		receipt, err := o.receipt(items)
		if err != nil {
			return err
		}
		if err := o.worker.receipts.Add(ctx, receipt); err != nil {
			return err
		}
		o.worker.Crash("item-worker: receipts stored")
	}
	entry := o.stored()
	entry.Receipts = true
	for _, r := range o.fold(entry, finished) {
		entry.Outcomes = append(entry.Outcomes, &eventsv1.Outcome{
			Index: r.item.GetIndex(), State: r.state, Checkpoint: r.item.GetCheckpoint(),
			Reason: reasonOf(r.reason),
		})
	}
	o.unwritten.finished = nil
	return nil
}

// receipt says that items of the batch are finished.
func (o inEntry) receipt(items []*eventsv1.Item) (postgres.Receipt, error) {
	receipt := postgres.Receipt{Attempt: o.Batch.GetAttempt(), Batch: o.Batch.GetBatch()}
	var err error
	if receipt.Run, err = uuid.Parse(o.Batch.GetRunId()); err != nil {
		return receipt, fmt.Errorf("run %q: %w", o.Batch.GetRunId(), err)
	}
	for _, item := range items {
		if item.GetIndex() < 0 || item.GetIndex() >= postgres.MaxReceiptItems {
			return receipt, fmt.Errorf("item %d of run %s: a batch has at most %d items", item.GetIndex(), receipt.Run,
				postgres.MaxReceiptItems)
		}
		receipt.Add(item.GetIndex())
	}
	return receipt, nil
}

// writeDead writes dead items together; if Postgres refuses that, one by one, so that a bad one does not take the
// others with it.
func (o inEntry) writeDead(ctx context.Context) error {
	all := o.unwritten.dead
	if len(all) == 0 {
		return nil
	}
	o.unwritten.dead = nil
	err := o.bury(ctx, all)
	if err == nil || errors.Is(err, errRefused) {
		return err
	}
	if len(all) == 1 || postgres.Unavailable(err) || ctx.Err() != nil {
		o.unwritten.dead = all
		return err
	}
	var errs error
	for i, d := range all {
		if err := o.bury(ctx, all[i:i+1]); err != nil {
			o.unwritten.dead = append(o.unwritten.dead, d)
			errs = errors.Join(errs, err)
		}
	}
	return errs
}

func (o inEntry) bury(ctx context.Context, dead []deaditems.Dead) error {
	accepted, err := deaditems.Insert(ctx, o.worker.Store, o.worker.Now(), o.Batch, dead)
	if err != nil {
		return err
	}
	if !accepted {
		return errRefused
	}
	entry := o.stored()
	for _, d := range dead {
		o.worker.Log.Warn("item is dead", "run", o.Batch.GetRunId(), "event", d.Item.GetEventType(), "external_id",
			d.Item.GetExternalId(),
			"reason", d.Reason, "tries", d.Item.GetTries(), "error", d.Error)
		entry.Outcomes = append(entry.Outcomes, &eventsv1.Outcome{
			Index: d.Item.GetIndex(),
			State: eventsv1.OutcomeState_OUTCOME_STATE_DEAD,
		})
	}
	o.worker.Crash("item-worker: dead items stored")
	return nil
}

// writeHops publishes what is to run again. One that is too large by now is halved, and an item that is too large by
// itself is dead.
func (o inEntry) writeHops(ctx context.Context) error {
	var errs error
	todo := o.unwritten.hops
	o.unwritten.hops = nil
	for len(todo) > 0 {
		h := todo[0]
		todo = todo[1:]
		err := o.publish(ctx, h)
		switch {
		case err == nil:
			for _, item := range h.items {
				entry := o.stored()
				entry.Outcomes = append(entry.Outcomes, h.outcome(item))
			}
		case errors.Is(err, bus.ErrTooLarge) && len(h.items) > 1:
			todo = append(todo, h.halves()...)
		case errors.Is(err, bus.ErrTooLarge):
			o.unwritten.dead = append(o.unwritten.dead, deaditems.Dead{
				Item: h.items[0], Reason: fate.TooLarge,
				Error: foreign.Of(err),
			})
			errs = errors.Join(errs, err)
		default:
			o.unwritten.hops = append(o.unwritten.hops, h)
			errs = errors.Join(errs, err)
		}
	}
	return errs
}

// writeEntry brings the outcomes whose effects are stored into the bucket.
func (o inEntry) writeEntry(ctx context.Context) error {
	if o.unwritten.entry == nil {
		return nil
	}
	o.worker.Crash("item-worker: before entry")
	if err := o.cell.Merge(ctx, o.unwritten.entry); err != nil {
		return err
	}
	o.unwritten.entry = nil
	o.worker.Crash("item-worker: entry written")
	return nil
}

// newEntry is an entry of the batch with no outcome yet.
func (o inEntry) newEntry() *eventsv1.Entry {
	entry := &eventsv1.Entry{ProgressAtDelivery: o.delivery.Count}
	if o.isFirst() {
		entry.Size = int32(len(o.Batch.GetItems()))
	}
	return entry
}

// fold notes the items that are done as one bit each and one checkpoint for all, where the provider's reducer may be
// applied to parts, and returns the results that need outcomes of their own. A reducer that fails now may be mended
// before the run is closed: then it finds every value. It is not called for a batch whose items run one at a time:
// should it end the process, an item would be charged with that.
func (o inEntry) fold(entry *eventsv1.Entry, results []result) []result {
	reducer, ok := o.Provider.(contracts.ScheduledSync)
	if _, associative := o.Provider.(contracts.AssociativeReducer); !ok || !associative || !o.isFirst() || o.careful {
		return results
	}
	var others []result
	checkpoints := make([]contracts.Checkpoint, 0, len(results))
	for _, r := range results {
		if r.state != eventsv1.OutcomeState_OUTCOME_STATE_DONE {
			others = append(others, r)
		} else if len(r.item.GetCheckpoint()) > 0 {
			checkpoints = append(checkpoints, r.item.GetCheckpoint())
		}
	}
	if len(checkpoints) > 0 {
		folded, err := checkpoint.Reduce(reducer, checkpoints)
		if err != nil {
			return results
		}
		if len(folded) > 0 {
			entry.Folded = append(entry.Folded, folded)
		}
	}
	for _, r := range results {
		if r.state == eventsv1.OutcomeState_OUTCOME_STATE_DONE {
			checkpoint.MarkDone(entry, r.item.GetIndex())
		}
	}
	return others
}
