package itemworker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tributaryhq/tributary/internal/deferral"
	"github.com/tributaryhq/tributary/internal/fate"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/handling"
	"github.com/tributaryhq/tributary/internal/redact"
	"github.com/tributaryhq/tributary/pkg/contracts"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// result is what one try of an item came to.
type result struct {
	item  *eventsv1.Item
	state eventsv1.OutcomeState
	// delay is until the next hop, while retrying; failed says that the hop takes a try.
	delay  time.Duration
	failed bool
	// cause is what a deferred item waits for.
	cause deferral.Cause
	// reason and err say why the item is dead, or skipped, or tried again.
	reason foreign.Text
	err    error
	// received says that the receipt is written already.
	received bool
}

// judge classifies items that were handled.
func (j *job) judge(all []handling.Handled) []result {
	results := make([]result, 0, len(all))
	for _, one := range all {
		results = append(results, j.classify(one))
	}
	return results
}

// classify turns what a handler returned into a result, by the verbs of contracts.
func (j *job) classify(one handling.Handled) result {
	item, err := one.Item, one.Err
	r := result{item: item, received: one.Received}
	if err == nil {
		r.state = eventsv1.OutcomeState_OUTCOME_STATE_DONE
		return r
	}
	// What is said is stored and shown.
	redactor := redact.New(nil, j.In)
	r.err = redactor.Error(err)
	settings := j.worker.Settings
	policy := fate.Policy{
		Tries: settings.Tries, Backoff: settings.Backoff, Waits: settings.Waits,
		Window: settings.Window,
	}
	becomes := policy.Of(r.err, fate.History{
		Tries: int(item.GetTries()), Deferrals: int(item.GetDeferrals()),
		Age: j.worker.Now().Sub(j.Batch.GetFirstAt().AsTime()),
	})
	r.delay, r.failed, r.cause = becomes.Wait, becomes.Failed, becomes.Cause
	if becomes.Asked > 0 {
		j.worker.Log.Warn("an item asks to wait for longer than any wait may be; it is tried again before", "run",
			j.Batch.GetRunId(),
			"event", item.GetEventType(), "external_id", item.GetExternalId(), "asked", becomes.Asked, "delay", r.delay,
			"error", r.err)
	}
	switch becomes.Kind {
	case fate.Done:
		r.state = eventsv1.OutcomeState_OUTCOME_STATE_DONE
	case fate.Skipped:
		skip, _ := contracts.AsSkip(r.err)
		r.state, r.reason = eventsv1.OutcomeState_OUTCOME_STATE_SKIPPED, foreign.Line(redactor.Text(skip.Reason))
	case fate.Again:
		r.state = eventsv1.OutcomeState_OUTCOME_STATE_RETRYING
	case fate.Dead:
		return r.dead(becomes.Reason)
	}
	return r
}

func (r result) dead(reason foreign.Text) result {
	r.state, r.reason = eventsv1.OutcomeState_OUTCOME_STATE_DEAD, reason
	return r
}

func (r result) errorText() foreign.Text {
	if r.err == nil {
		return r.reason
	}
	if errors.Is(r.err, context.DeadlineExceeded) {
		return foreign.Of(fmt.Errorf("the handler's time was up: %w", r.err))
	}
	return foreign.Of(r.err)
}
