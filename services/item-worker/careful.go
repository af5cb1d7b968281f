package itemworker

import (
	"context"
	"errors"
	"fmt"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/fate"
	"github.com/tributaryhq/tributary/internal/handling"
	"github.com/tributaryhq/tributary/internal/suspects"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// maxCharges is how often an item may be running, alone, when its worker dies.
const maxCharges = 2

// isSuspect reports whether the batch has come back often enough without progress, or has been under suspicion before.
func (j *job) isSuspect() bool {
	for _, outcome := range j.cell.Entry().GetOutcomes() {
		if outcome.GetState() == eventsv1.OutcomeState_OUTCOME_STATE_RUNNING || outcome.GetCharges() > 0 {
			return true
		}
	}
	fruitless := j.delivery.Count - 1 - min(j.cell.Entry().GetProgressAtDelivery(), j.delivery.Count-1)
	return fruitless >= j.worker.Settings.Careful
}

// runCarefully runs one item at a time, alone in this process, each marked as running before its handler starts. The
// one that was running when a worker died is charged; charged twice it is dead, and the rest goes on.
func (j *job) runCarefully(ctx context.Context, todo []*eventsv1.Item) error {
	j.worker.Log.Warn("batch came back without progress; its items run one at a time", "run", j.Batch.GetRunId(),
		"batch", j.Batch.GetBatch(),
		"delivery", j.delivery.Count)
	j.careful = true
	if err := j.charge(ctx); err != nil {
		return err
	}
	for _, item := range todo {
		select {
		case <-j.delivery.Stopping:
			return handling.ErrStopping
		default:
		}
		r := result{item: item, err: suspects.ErrDeadly}.dead(fate.Poison)
		if charges(j.cell.Entry(), item) < maxCharges {
			var err error
			if r, err = j.runAlone(ctx, item); err != nil {
				return err
			}
		}
		err := j.commit(ctx, []result{r})
		if err == nil {
			err = j.settle(ctx)
		}
		if err != nil {
			return errors.Join(err, j.erase(ctx, item))
		}
	}
	return nil
}

func (j *job) runAlone(ctx context.Context, item *eventsv1.Item) (result, error) {
	// The mark comes after the wait for the others: a worker that ends before the item runs must not have it charged.
	if !j.Gate.Alone(ctx, j.delivery.Stopping) {
		return result{}, handling.ErrStopping
	}
	defer j.Gate.ReleaseAlone()
	mark := &eventsv1.Outcome{
		Index: item.GetIndex(), State: eventsv1.OutcomeState_OUTCOME_STATE_RUNNING, Incarnation: j.worker.incarnation,
		Charges: charges(j.cell.Entry(), item),
	}
	if err := j.merge(ctx, mark); err != nil {
		return result{}, err
	}
	j.worker.Crash("item-worker: marked running")
	results := j.Start(ctx, []*eventsv1.Item{item}, nil).Wait()
	if len(results) == 0 {
		return result{}, errors.Join(handling.ErrStopping, j.erase(ctx, item))
	}
	return j.classify(results[0]), nil
}

// charge looks for an item that was running when its worker's lease expired.
func (j *job) charge(ctx context.Context) error {
	for _, outcome := range j.cell.Entry().GetOutcomes() {
		if outcome.GetState() != eventsv1.OutcomeState_OUTCOME_STATE_RUNNING ||
			outcome.GetIncarnation() == j.worker.incarnation {
			continue
		}
		lives, err := j.worker.lives(ctx, outcome.GetIncarnation())
		if err != nil {
			return fmt.Errorf("look for worker %s: %w", outcome.GetIncarnation(), err)
		}
		if lives {
			return bus.Again(j.worker.Bus.Timing().WorkerLease/3, "another worker has it, or has just died")
		}
		charged := &eventsv1.Outcome{Index: outcome.GetIndex(), Charges: outcome.GetCharges() + 1}
		j.worker.Log.Warn("item was running alone when its worker died", "run", j.Batch.GetRunId(), "batch",
			j.Batch.GetBatch(),
			"item", outcome.GetIndex(), "charges", charged.GetCharges())
		return j.merge(ctx, charged)
	}
	return nil
}

// erase takes the mark off an item that is handed back.
func (j *job) erase(ctx context.Context, item *eventsv1.Item) error {
	return j.merge(ctx, &eventsv1.Outcome{Index: item.GetIndex(), Charges: charges(j.cell.Entry(), item)})
}

func (j *job) merge(ctx context.Context, outcome *eventsv1.Outcome) error {
	return j.cell.Merge(ctx, &eventsv1.Entry{Outcomes: []*eventsv1.Outcome{outcome}})
}

func charges(entry *eventsv1.Entry, item *eventsv1.Item) int32 {
	return checkpoint.Find(entry, item.GetIndex()).GetCharges()
}
