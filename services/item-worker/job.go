package itemworker

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/handling"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/wire"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// job is one batch in work.
type job struct {
	handling.Work
	worker   *Worker
	lane     wire.Lane
	delivery *bus.Delivery
	cell     *checkpoint.Cell
	// outcomes is the origin of the work, too.
	outcomes outcomes
	// careful says that items run one at a time, because one of them may end the process.
	careful bool
	// unwritten is what items came to and what is not stored yet.
	unwritten unwritten
}

// isFirst reports whether this is the batch as first published, and no hop of some of its items.
func (j *job) isFirst() bool { return j.Batch.GetItems()[0].GetHop() == 0 }

// run takes every item of the batch that has no outcome yet to one.
func (j *job) run(ctx context.Context) error {
	started := j.worker.Now()
	defer func() { j.worker.Metrics.batch(j.Batch.GetProvider(), j.lane, j.worker.Now().Sub(started)) }()
	todo := j.todo()
	if len(todo) == 0 {
		return nil
	}
	if j.isSuspect() {
		return j.runCarefully(ctx, todo)
	}
	return j.runTogether(ctx, todo)
}

// todo are the items that this message still has to see to.
func (j *job) todo() []*eventsv1.Item {
	var todo []*eventsv1.Item
	for _, item := range j.Batch.GetItems() {
		if j.outcomes.lacks(item) {
			todo = append(todo, item)
		}
	}
	return todo
}

// runTogether runs items side by side. Every second or so it writes outcomes down, and asks whether the run still wants
// what is left: if it was closed, nothing more is started; if its integration was paused, the rest is parked. While
// what is done can't be written, nothing more is started either.
func (j *job) runTogether(ctx context.Context, todo []*eventsv1.Item) error {
	r := j.Start(ctx, todo, j.worker.slots[j.lane])
	defer r.Halt()
	ticker := time.NewTicker(j.worker.Settings.Progress)
	defer ticker.Stop()
	stopping := j.delivery.Stopping
	var ended error
	for open := true; open; {
		select {
		case <-r.Over:
			open = false
		case <-ticker.C:
			if ended == nil {
				if ended = j.wanted(ctx); ended != nil {
					j.worker.Log.Info("the rest of a batch is not wanted", "run", j.Batch.GetRunId(), "batch",
						j.Batch.GetBatch(), "why", ended)
				}
			}
		case <-stopping:
			r.Halt()
			stopping = nil
			continue
		}
		if ended == nil || errors.Is(ended, errPaused) {
			if err := j.commit(ctx, j.judge(r.Take())); err != nil {
				ended = err
			}
		}
		if ended != nil || j.unwritten.stores() {
			r.Halt()
		}
	}
	if ended != nil && !errors.Is(ended, errPaused) {
		return ended
	}
	if err := j.settle(ctx); err != nil {
		return err
	}
	switch {
	case ended != nil:
		return j.park(ctx)
	case !r.IsWhole(len(todo)):
		return errRest
	}
	return nil
}

// errPaused means that the integration was paused while the batch was in work.
var errPaused = errors.New("the integration is paused")

// wanted asks whether the run still accepts what this batch brings. A database that does not answer is no reason to
// stop.
func (j *job) wanted(ctx context.Context) error {
	id, err := uuid.Parse(j.Batch.GetRunId())
	if err != nil {
		return errRefused
	}
	run, err := j.worker.Store.RunAccepts(ctx, id)
	switch {
	case postgres.NotFound(err):
		return errRefused
	case err != nil:
		return nil //nolint:nilerr // committing will find out
	case !j.outcomes.accepts(run):
		return errRefused
	case run.Status != "active":
		return errPaused
	}
	return nil
}
