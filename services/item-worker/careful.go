package itemworker

import (
	"context"
	"errors"
	"fmt"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/checkpoint"
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

// runCarefully runs one item at a time, alone in this process, each marked as running before its handler starts. The one that was running when a
// worker died is charged; charged twice it is dead, and the rest goes on.
func (j *job) runCarefully(ctx context.Context, todo []*eventsv1.Item) error {
	j.worker.Log.Warn("batch came back without progress; its items run one at a time", "run", j.batch.GetRunId(), "batch", j.batch.GetBatch(),
		"delivery", j.delivery.Count)
	j.careful = true
	if err := j.charge(ctx); err != nil {
		return err
	}
	for _, item := range todo {
		select {
		case <-j.delivery.Stopping:
			return errStopping
		default:
		}
		r := result{item: item, err: errPoison}.dead(reasonPoison)
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

var errPoison = errors.New("the process died each time while this item was the only one running")

func (j *job) runAlone(ctx context.Context, item *eventsv1.Item) (result, error) {
	// The mark comes after the wait for the others: a worker that ends before the item runs must not have it charged.
	if !j.worker.lockAlone(ctx, j.delivery.Stopping) {
		return result{}, errStopping
	}
	defer j.worker.alone.Unlock()
	mark := &eventsv1.Outcome{
		Index: item.GetIndex(), State: eventsv1.OutcomeState_OUTCOME_STATE_RUNNING, Incarnation: j.worker.incarnation, Charges: charges(j.cell.Entry(), item),
	}
	if err := j.merge(ctx, mark); err != nil {
		return result{}, err
	}
	j.worker.Crash("item-worker: marked running")
	results := newRound(ctx, &j.work, []*eventsv1.Item{item}, true).settle()
	if len(results) == 0 {
		return result{}, errors.Join(errStopping, j.erase(ctx, item))
	}
	return j.classify(results[0]), nil
}

// lockAlone waits until nothing else runs in this process, and reports whether it may run something. If the worker stops first, it does not wait for the others.
func (w *Worker) lockAlone(ctx context.Context, stopping <-chan struct{}) bool {
	return lockUnless(ctx, stopping, w.alone.Lock, w.alone.Unlock)
}

// lockBeside waits until nothing runs alone in this process, and reports whether something else may run, as lockAlone
// does.
func (w *Worker) lockBeside(ctx context.Context, stopping <-chan struct{}) bool {
	return w.alone.TryRLock() || lockUnless(ctx, stopping, w.alone.RLock, w.alone.RUnlock)
}

// lockUnless waits for a lock, and reports whether it has it: not if the worker stops first.
func lockUnless(ctx context.Context, stopping <-chan struct{}, lock, unlock func()) bool {
	locked := make(chan struct{})
	go func() {
		lock()
		close(locked)
	}()
	select {
	case <-locked:
		return true
	case <-stopping:
	case <-ctx.Done():
	}
	go func() {
		<-locked
		unlock()
	}()
	return false
}

// charge looks for an item that was running when its worker's lease expired.
func (j *job) charge(ctx context.Context) error {
	for _, outcome := range j.cell.Entry().GetOutcomes() {
		if outcome.GetState() != eventsv1.OutcomeState_OUTCOME_STATE_RUNNING || outcome.GetIncarnation() == j.worker.incarnation {
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
		j.worker.Log.Warn("item was running alone when its worker died", "run", j.batch.GetRunId(), "batch", j.batch.GetBatch(),
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
