package itemworker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/deaditems"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

const (
	// receiptsAtATime bounds what one statement takes.
	receiptsAtATime = 256
	// writeTimeout is how long a store may take to answer before what else there is gets its turn.
	writeTimeout = 10 * time.Second
	// firstRest is how long unwritten outcomes rest after they were refused. It doubles up to longestRest.
	firstRest, longestRest = 250 * time.Millisecond, 10 * time.Second
)

// unwritten is what items of a job came to, by what must be stored of it first, and is not stored yet.
type unwritten struct {
	// finished items are done or skipped, and need a receipt.
	finished []result
	dead     []deaditems.Dead
	hops     []*hop
	// entry are the outcomes whose effects are stored: they lack only their place in the bucket. It is nil where there are none.
	entry *eventsv1.Entry
	// why is what a store last said.
	why error
}

// items is how many items wait to be written.
func (u *unwritten) items() int {
	n := len(u.finished) + len(u.dead)
	for _, h := range u.hops {
		n += len(h.items)
	}
	if n == 0 && u.entry != nil {
		n = 1
	}
	return n
}

// stores reports whether a store refuses what is done, and not only what became of single items.
func (u *unwritten) stores() bool { return len(u.finished) > 0 || u.entry != nil }

// write stores what is unwritten. It returns [errRefused] or nil.
func (j *job) write(ctx context.Context) error {
	if j.unwritten.items() == 0 {
		return nil
	}
	j.unwritten.why = nil
	return j.outcomes.write(ctx)
}

// try keeps what a store says for [job.settle] to tell.
func (j *job) try(ctx context.Context, write func(context.Context) error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if err := write(ctx); err != nil {
		j.unwritten.why = errors.Join(j.unwritten.why, err)
	}
}

// stored is the entry that outcomes are added to once their effects are stored.
func (j *job) stored() *eventsv1.Entry {
	if j.unwritten.entry == nil {
		j.unwritten.entry = j.newEntry()
	}
	return j.unwritten.entry
}

// writeFinished writes a receipt for what is done or skipped, where its effects were not committed with one.
func (j *job) writeFinished(ctx context.Context) error {
	finished := j.unwritten.finished
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
		receipt, err := j.receipt(items)
		if err != nil {
			return err
		}
		if err := j.worker.receipts.add(ctx, receipt); err != nil {
			return err
		}
		j.worker.Crash("item-worker: receipts stored")
	}
	entry := j.stored()
	entry.Receipts = true
	for _, r := range j.fold(entry, finished) {
		entry.Outcomes = append(entry.Outcomes, &eventsv1.Outcome{
			Index: r.item.GetIndex(), State: r.state, Checkpoint: r.item.GetCheckpoint(),
			Reason: reasonOf(r.reason),
		})
	}
	j.unwritten.finished = nil
	return nil
}

// receipt says that items of the batch are finished.
func (j *job) receipt(items []*eventsv1.Item) (postgres.Receipt, error) {
	receipt := postgres.Receipt{Attempt: j.batch.GetAttempt(), Batch: j.batch.GetBatch()}
	var err error
	if receipt.Run, err = uuid.Parse(j.batch.GetRunId()); err != nil {
		return receipt, fmt.Errorf("run %q: %w", j.batch.GetRunId(), err)
	}
	for _, item := range items {
		if item.GetIndex() < 0 || item.GetIndex() >= postgres.MaxReceiptItems {
			return receipt, fmt.Errorf("item %d of run %s: a batch has at most %d items", item.GetIndex(), receipt.Run, postgres.MaxReceiptItems)
		}
		receipt.Add(item.GetIndex())
	}
	return receipt, nil
}

// writeReceipts writes the receipts of several batches.
func (w *Worker) writeReceipts(ctx context.Context, receipts []postgres.Receipt) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return w.Store.AddReceipts(ctx, receipts...)
}

// writeDead writes dead items together; if Postgres refuses that, one by one, so that a bad one does not take the others with it.
func (j *job) writeDead(ctx context.Context) error {
	all := j.unwritten.dead
	if len(all) == 0 {
		return nil
	}
	j.unwritten.dead = nil
	err := j.bury(ctx, all)
	if err == nil || errors.Is(err, errRefused) {
		return err
	}
	if len(all) == 1 || postgres.Unavailable(err) || ctx.Err() != nil {
		j.unwritten.dead = all
		return err
	}
	var errs error
	for i, d := range all {
		if err := j.bury(ctx, all[i:i+1]); err != nil {
			j.unwritten.dead = append(j.unwritten.dead, d)
			errs = errors.Join(errs, err)
		}
	}
	return errs
}

func (j *job) bury(ctx context.Context, dead []deaditems.Dead) error {
	accepted, err := deaditems.Insert(ctx, j.worker.Store, j.worker.Now(), j.batch, dead)
	if err != nil {
		return err
	}
	if !accepted {
		return errRefused
	}
	entry := j.stored()
	for _, d := range dead {
		j.worker.Log.Warn("item is dead", "run", j.batch.GetRunId(), "event", d.Item.GetEventType(), "external_id", d.Item.GetExternalId(),
			"reason", d.Reason, "tries", d.Item.GetTries(), "error", d.Error)
		entry.Outcomes = append(entry.Outcomes, &eventsv1.Outcome{Index: d.Item.GetIndex(), State: eventsv1.OutcomeState_OUTCOME_STATE_DEAD})
	}
	j.worker.Crash("item-worker: dead items stored")
	return nil
}

// writeHops publishes what is to run again. One that is too large by now is halved, and an item that is too large by itself is dead.
func (j *job) writeHops(ctx context.Context) error {
	var errs error
	todo := j.unwritten.hops
	j.unwritten.hops = nil
	for len(todo) > 0 {
		h := todo[0]
		todo = todo[1:]
		err := j.publish(ctx, h)
		switch {
		case err == nil:
			for _, item := range h.items {
				entry := j.stored()
				entry.Outcomes = append(entry.Outcomes, h.outcome(item))
			}
		case errors.Is(err, bus.ErrTooLarge) && len(h.items) > 1:
			todo = append(todo, h.halves()...)
		case errors.Is(err, bus.ErrTooLarge):
			j.unwritten.dead = append(j.unwritten.dead, deaditems.Dead{Item: h.items[0], Reason: reasonTooLarge, Error: foreign.Of(err)})
			errs = errors.Join(errs, err)
		default:
			j.unwritten.hops = append(j.unwritten.hops, h)
			errs = errors.Join(errs, err)
		}
	}
	return errs
}

// writeEntry brings the outcomes whose effects are stored into the bucket.
func (j *job) writeEntry(ctx context.Context) error {
	if j.unwritten.entry == nil {
		return nil
	}
	j.worker.Crash("item-worker: before entry")
	if err := j.cell.Merge(ctx, j.unwritten.entry); err != nil {
		return err
	}
	j.unwritten.entry = nil
	j.worker.Crash("item-worker: entry written")
	return nil
}

// settle writes what is unwritten, again and again, and calls no handler meanwhile. The message stays in work, so that no other worker gets it. It gives up with
// [errStopping] when the service stops, and with [errUnwritten] after [Settings.Hold].
func (j *job) settle(ctx context.Context) error {
	items := j.unwritten.items()
	if items == 0 {
		return nil
	}
	log := j.worker.Log.With("run", j.batch.GetRunId(), "batch", j.batch.GetBatch(), "items", items)
	log.Warn("outcomes can't be written; they are kept and tried again, and no handler is called again", "error", j.unwritten.why)
	waiting := j.worker.Metrics.unwritten.WithLabelValues(j.batch.GetProvider())
	waiting.Add(float64(items))
	defer waiting.Sub(float64(items))
	held := time.NewTimer(j.worker.Settings.Hold)
	defer held.Stop()
	for rest := firstRest; ; rest = min(2*rest, longestRest) {
		var given error
		select {
		case <-j.delivery.Stopping:
			given = errStopping
		case <-ctx.Done():
			return errStopping
		case <-held.C:
			given = errUnwritten
		case <-time.After(rest):
		}
		if err := j.write(ctx); err != nil {
			return err
		}
		if j.unwritten.items() == 0 {
			log.Info("outcomes are written after all")
			return nil
		}
		if given != nil {
			log.Error("outcomes are not written; their batch is handed back, and handlers will be called again", "why", given, "error", j.unwritten.why)
			return given
		}
	}
}
