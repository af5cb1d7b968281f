package itemworker

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// The reasons for which items are dead.
const (
	reasonTries     = "tries used up"
	reasonPermanent = "permanent"
	reasonWindow    = "waited too long"
	reasonPoison    = "killed its worker"
)

// result is what one try of an item came to.
type result struct {
	item  *eventsv1.Item
	state eventsv1.OutcomeState
	// delay is until the next hop, while retrying; failed says that the hop takes a try.
	delay  time.Duration
	failed bool
	// reason and err say why the item is dead, or skipped, or tried again.
	reason string
	err    error
}

// handle runs the application's handlers on one item.
func (j *job) handle(ctx context.Context, item *eventsv1.Item) result {
	started := j.worker.Now()
	ctx, cancel := context.WithTimeout(ctx, j.worker.Settings.Timeout)
	defer cancel()
	ctx = contracts.WithAttempt(ctx, contracts.Attempt{
		Run: j.batch.GetRunId(), ExternalID: item.GetExternalId(),
		Item: j.batch.GetRunId() + "/" + itoa(j.batch.GetAttempt()) + "/" + itoa(j.batch.GetBatch()) + "/" + itoa(item.GetIndex()),
		Try:  int(item.GetTries()) + 1, MaxTries: j.worker.Settings.Tries,
	})
	var err error
	for _, handler := range j.worker.Handlers[item.GetEventType()] {
		if err = j.call(ctx, handler, item); err != nil {
			break
		}
	}
	j.worker.Metrics.item(j.batch.GetProvider(), j.worker.Now().Sub(started))
	return j.classify(item, err)
}

// call runs one handler, which may panic, or go on though its time is up: then it is left behind.
func (j *job) call(ctx context.Context, handler ItemHandler, item *eventsv1.Item) error {
	returned := make(chan error, 1)
	go func() {
		defer func() {
			if v := recover(); v != nil {
				j.worker.Log.Error("handler panicked", "event", item.GetEventType(), "external_id", item.GetExternalId(), "panic", v, "stack", string(debug.Stack()))
				returned <- fmt.Errorf("handler panicked: %v", v)
			}
		}()
		returned <- handler(ctx, j.in, item.GetPayload())
	}()
	select {
	case err := <-returned:
		return err
	case <-ctx.Done():
	}
	timer := time.NewTimer(j.worker.Settings.Grace)
	defer timer.Stop()
	select {
	case err := <-returned:
		return err
	case <-timer.C:
		return fmt.Errorf("the handler did not return: %w", ctx.Err())
	}
}

// classify turns what a handler returned into a result, by the verbs of contracts.
func (j *job) classify(item *eventsv1.Item, err error) result {
	r := result{item: item, err: err}
	skip, skipped := contracts.AsSkip(err)
	deferral, deferred := contracts.AsDeferral(err)
	switch {
	case err == nil:
		r.state = eventsv1.OutcomeState_OUTCOME_STATE_DONE
		return r
	case skipped:
		r.state, r.reason = eventsv1.OutcomeState_OUTCOME_STATE_SKIPPED, skip.Reason
		return r
	case contracts.IsPermanent(err):
		return r.dead(reasonPermanent)
	case deferred:
		r.delay = deferral.Delay
	default:
		r.failed = true
		tries := int(item.GetTries()) + 1
		if tries >= j.worker.Settings.Tries {
			return r.dead(reasonTries)
		}
		r.delay = j.worker.Settings.Backoff[min(tries, len(j.worker.Settings.Backoff))-1]
	}
	if j.worker.Now().Add(r.delay).Sub(j.batch.GetFirstAt().AsTime()) > j.worker.Settings.Window {
		return r.dead(reasonWindow)
	}
	r.state = eventsv1.OutcomeState_OUTCOME_STATE_RETRYING
	return r
}

func (r result) dead(reason string) result {
	r.state, r.reason = eventsv1.OutcomeState_OUTCOME_STATE_DEAD, reason
	return r
}

func (r result) errorText() string {
	if r.err == nil {
		return r.reason
	}
	if errors.Is(r.err, context.DeadlineExceeded) {
		return "the handler's time was up: " + r.err.Error()
	}
	return r.err.Error()
}

func itoa(n int32) string { return strconv.Itoa(int(n)) }
