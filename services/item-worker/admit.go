package itemworker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/deaditems"
	"github.com/tributaryhq/tributary/internal/handling"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/wire"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

func (w *Worker) handle(ctx context.Context, lane wire.Lane, d *bus.Delivery) error {
	batch, err := wire.ReadBatch(d.Body)
	if err != nil || len(batch.GetItems()) == 0 {
		return bus.Again(time.Minute, "a batch that this version can't read")
	}
	job, err := w.admit(ctx, lane, d, batch)
	admitted := err == nil
	if admitted && job != nil {
		err = job.run(ctx)
	}
	switch {
	case errors.Is(err, errRefused):
		w.Metrics.refused(batch.GetProvider())
		return nil
	case postgres.Unavailable(err), errors.Is(err, errUnwritten):
		return w.handBack(ctx, d, batch, 2*time.Second, err)
	case errors.Is(err, handling.ErrStopping), errors.Is(err, errRest):
		return w.handBack(ctx, d, batch, 0, err)
	case !admitted:
		wait := admitWait(d.Count)
		w.Log.Warn("a batch can't be begun; it comes again", "run", batch.GetRunId(), "batch", batch.GetBatch(),
			"provider", batch.GetProvider(),
			"delivery", d.Count, "wait", wait, "error", err)
		return w.handBack(ctx, d, batch, wait, err)
	}
	return err
}

const (
	// admitFirst is how long a batch rests that could not be begun. It doubles up to admitMost.
	admitFirst = 2 * time.Second
	admitMost  = time.Minute
)

// admitWait is how long a batch rests that could not be begun at its count-th delivery.
func admitWait(count uint64) time.Duration {
	wait := admitFirst
	for ; count > 1 && wait < admitMost; count-- {
		wait *= 2
	}
	return min(wait, admitMost)
}

var (
	// errRefused means that nothing of the message may run: its run is closed, or has a newer attempt.
	errRefused = errors.New("the run does not accept this attempt")
	// errRest means that some items were not begun.
	errRest = errors.New("the rest of the batch was not begun")
	// errUnwritten means that what items came to could not be written for too long. Their handlers will be called
	// again.
	errUnwritten = errors.New("outcomes could not be written for too long")
)

// admit decides whether a batch may run, and gathers what running it takes. It returns nil when there is nothing left
// to do.
func (w *Worker) admit(ctx context.Context, lane wire.Lane, d *bus.Delivery, batch *eventsv1.ItemBatch) (*job,
	error,
) {
	runID, err := uuid.Parse(batch.GetRunId())
	if err != nil {
		return nil, errRefused
	}
	run, err := w.Store.RunAccepts(ctx, runID)
	if postgres.NotFound(err) {
		return nil, errRefused
	}
	if err != nil {
		return nil, fmt.Errorf("ask whether run %s goes on: %w", runID, err)
	}
	j := &job{worker: w, Work: handling.Work{Handlers: w.handlers, Batch: batch}, lane: lane, delivery: d}
	if err := j.locate(ctx); err != nil {
		return nil, err
	}
	if !j.outcomes.accepts(run) {
		return nil, errRefused
	}
	if j.cell, err = w.Checkpoints.Cell(ctx, keyOf(batch)); err != nil {
		return nil, err
	}
	batch.FirstAt, batch.ParkedAt = timestamppb.New(unpaused(batch, w.Now())), nil
	if err := j.buryUnstorable(ctx); err != nil {
		return nil, err
	}
	if run.Status != "active" {
		return nil, j.park(ctx)
	}
	integrationID, err := uuid.Parse(batch.GetIntegrationId())
	if err != nil {
		return nil, errRefused
	}
	j.In, err = w.Integrations.Load(ctx, integrationID, run.Version)
	switch {
	case postgres.Unavailable(err):
		return nil, err
	case err != nil:
		// The credentials can't be opened, for example. The items wait until somebody mends that.
		if w.unloaded.Begins(batch.GetIntegrationId(), w.Now()) {
			w.Log.Error("an integration can't be loaded; its items wait", "integration", integrationID, "provider",
				batch.GetProvider(), "error", err)
		}
		return nil, j.putOffAll(ctx, err)
	}
	j.Provider, err = w.Registry.Provider(batch.GetProvider())
	return j, err
}

// locate finds where the outcomes of the job are kept: in its entry, or in the row of the dead item that the batch
// brings. That row must still be under retry.
func (j *job) locate(ctx context.Context) error {
	j.keep(inEntry{ofRun{j}})
	if j.Batch.GetDeadItemId() == "" {
		return nil
	}
	id, err := uuid.Parse(j.Batch.GetDeadItemId())
	if err != nil {
		return errRefused
	}
	row, err := j.worker.Store.DeadRedriveState(ctx, id)
	if postgres.NotFound(err) {
		return errRefused
	}
	if err != nil {
		return fmt.Errorf("read dead item %s: %w", id, err)
	}
	if row.Status != "redriving" || j.Batch.GetItems()[0].GetHop() < row.Hop {
		return errRefused
	}
	j.keep(inRow{ofRun{j}, id})
	return nil
}

// keep has the outcomes of the job kept in a place.
func (j *job) keep(in outcomes) { j.outcomes, j.Origin = in, in }

// handBack returns a batch to the stream. The entry notes that this delivery was no failure, so that it does not count
// towards careful mode.
func (w *Worker) handBack(ctx context.Context, d *bus.Delivery, batch *eventsv1.ItemBatch, delay time.Duration,
	why error,
) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if _, err := w.Checkpoints.Merge(ctx, keyOf(batch), &eventsv1.Entry{ProgressAtDelivery: d.Count}); err != nil {
		w.Log.Debug("hand-back not noted", "key", keyOf(batch), "error", err)
	}
	return bus.Again(delay, why.Error())
}

// buryUnstorable writes the items of a batch dead that no store takes, before anything is done with them: older
// versions published such items. Others go on.
func (j *job) buryUnstorable(ctx context.Context) error {
	var dead []result
	for _, item := range j.todo() {
		if err := j.outcomes.check(item); err != nil {
			dead = append(dead, result{item: item, err: err}.dead(deaditems.Invalid))
		}
	}
	if len(dead) == 0 {
		return nil
	}
	if err := j.commit(ctx, dead); err != nil {
		return err
	}
	return j.settle(ctx)
}

// putOffAll has all items of a batch wait, and calls no handler.
func (j *job) putOffAll(ctx context.Context, cause error) error {
	var waiting []result
	for _, item := range j.todo() {
		waiting = append(waiting, j.classify(handling.Handled{Item: item, Err: handling.PutOff(cause)}))
	}
	if err := j.commit(ctx, waiting); err != nil {
		return err
	}
	return j.settle(ctx)
}

func keyOf(batch *eventsv1.ItemBatch) checkpoint.Key {
	first := batch.GetItems()[0]
	key := checkpoint.Key{
		Run: batch.GetRunId(), Attempt: batch.GetAttempt(), Batch: batch.GetBatch(),
		Index: checkpoint.First,
	}
	if first.GetHop() > 0 {
		key.Index = first.GetIndex()
	}
	return key
}
