package itemworker

import (
	"context"
	"errors"

	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/items"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/contracts"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// inEntry keeps the outcomes of a batch in its entry of the bucket.
type inEntry struct{ ofRun }

func (o inEntry) accepts(run *dbsqlc.RunAcceptsRow) bool {
	return !run.Closed && run.Attempt == o.batch.GetAttempt()
}

// lacks reports whether the entry has no outcome of the item. A retrying one speaks of this message only if this
// message sent the item on.
func (o inEntry) lacks(item *eventsv1.Item) bool {
	outcome := checkpoint.Find(o.cell.Entry(), item.GetIndex())
	sentOn := outcome.GetState() == eventsv1.OutcomeState_OUTCOME_STATE_RETRYING && outcome.GetHop() > item.GetHop()
	return !checkpoint.Finished(outcome.GetState()) && !sentOn
}

func (inEntry) check(item *eventsv1.Item) error { return items.Check(item) }

func (o inEntry) receive(ctx context.Context, tx *postgres.Tx, items []*eventsv1.Item) error {
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

// newEntry is an entry of the batch with no outcome yet.
func (j *job) newEntry() *eventsv1.Entry {
	entry := &eventsv1.Entry{ProgressAtDelivery: j.delivery.Count}
	if j.isFirst() {
		entry.Size = int32(len(j.batch.GetItems()))
	}
	return entry
}

// isFirst reports whether this is the batch as first published, and no hop of some of its items.
func (j *job) isFirst() bool { return j.batch.GetItems()[0].GetHop() == 0 }

// fold notes the items that are done as one bit each and one checkpoint for all, where the provider's reducer may be applied to parts, and returns the
// results that need outcomes of their own. A reducer that fails now may be mended before the run is closed: then it finds every value. It is not called for a batch whose
// items run one at a time: should it end the process, an item would be charged with that.
func (j *job) fold(entry *eventsv1.Entry, results []result) []result {
	reducer, ok := j.provider.(contracts.ScheduledSync)
	if _, associative := j.provider.(contracts.AssociativeReducer); !ok || !associative || !j.isFirst() || j.careful {
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
