package itemworker

import (
	"context"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// job is one batch in work.
type job struct {
	worker   *Worker
	delivery *bus.Delivery
	batch    *eventsv1.ItemBatch
	lane     events.Lane
	key      checkpoint.Key
	entry    *eventsv1.Entry
	in       *contracts.Integration
	provider contracts.Provider
	// redrive is the dead item that the batch brings again; its fate is kept in Postgres and not in the bucket.
	redrive *uuid.UUID
}

// run takes every item of the batch that has no outcome yet to one.
func (j *job) run(ctx context.Context) error {
	started := j.worker.Now()
	defer func() { j.worker.Metrics.batch(j.batch.GetProvider(), j.lane, j.worker.Now().Sub(started)) }()
	todo := j.todo()
	if len(todo) == 0 {
		return nil
	}
	if j.isSuspect() {
		return j.runCarefully(ctx, todo)
	}
	return j.runTogether(ctx, todo)
}

// todo are the items that this message still has to see to. A retrying outcome speaks of this message only if it sent the item on.
func (j *job) todo() []*eventsv1.Item {
	var todo []*eventsv1.Item
	for _, item := range j.batch.GetItems() {
		outcome := checkpoint.Find(j.entry, item.GetIndex())
		sentOn := outcome.GetState() == eventsv1.OutcomeState_OUTCOME_STATE_RETRYING && outcome.GetHop() > item.GetHop()
		if j.redrive != nil || !checkpoint.Finished(outcome.GetState()) && !sentOn {
			todo = append(todo, item)
		}
	}
	return todo
}

// runTogether runs items side by side and writes outcomes down as they come in, every second or so.
func (j *job) runTogether(ctx context.Context, todo []*eventsv1.Item) error {
	running, stop := context.WithCancel(ctx)
	defer stop()
	results := make(chan result, len(todo))
	stopped := make(chan bool, 1)
	go func() { stopped <- j.launch(running, todo, results) }()
	ticker := time.NewTicker(j.worker.Settings.Progress)
	defer ticker.Stop()
	var pending []result
	var failed error
	for open := true; open; {
		commit := false
		select {
		case r, ok := <-results:
			if ok {
				pending = append(pending, r)
			}
			open, commit = ok, !ok
		case <-ticker.C:
			commit = len(pending) > 0
		}
		if commit && failed == nil {
			if failed = j.commit(ctx, pending); failed != nil {
				stop()
			}
			pending = nil
		}
	}
	if failed != nil {
		return failed
	}
	if <-stopped {
		return errStopping
	}
	return nil
}

// launch runs the items and closes results; it reports whether some were left out because the service stops.
func (j *job) launch(ctx context.Context, todo []*eventsv1.Item, results chan<- result) (stopped bool) {
	defer close(results)
	var forSink []*eventsv1.Item
	var running sync.WaitGroup
	defer running.Wait()
	slots := j.worker.slots[j.lane]
	for _, item := range todo {
		if len(j.worker.Handlers[item.GetEventType()]) == 0 {
			forSink = append(forSink, item)
			continue
		}
		select {
		case <-j.delivery.Stopping:
			return true
		case <-ctx.Done():
			return true
		case slots <- struct{}{}:
		}
		running.Go(func() {
			defer func() { <-slots }()
			j.worker.alone.RLock()
			defer j.worker.alone.RUnlock()
			results <- j.handle(ctx, item)
		})
	}
	if len(forSink) == 0 {
		return false
	}
	select {
	case <-j.delivery.Stopping:
		return true
	case slots <- struct{}{}:
		defer func() { <-slots }()
		j.worker.alone.RLock()
		defer j.worker.alone.RUnlock()
		for _, r := range j.sink(ctx, forSink) {
			results <- r
		}
	}
	return false
}
