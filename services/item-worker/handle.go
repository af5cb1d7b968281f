package itemworker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tributaryhq/tributary/internal/deferral"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/redact"
	"github.com/tributaryhq/tributary/pkg/contracts"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// The reasons for which items are dead.
const (
	reasonTries      = "tries used up"
	reasonPermanent  = "permanent"
	reasonWindow     = "waited too long"
	reasonPoison     = "killed its worker"
	reasonTooLarge   = "too large"
	reasonUnstorable = "can't be stored"
)

// result is what one try of an item came to.
type result struct {
	item  *eventsv1.Item
	state eventsv1.OutcomeState
	// delay is until the next hop, while retrying; failed says that the hop takes a try.
	delay  time.Duration
	failed bool
	// cause is what a deferred item waits for; cut says that it asked for a longer wait than any may be.
	cause deferral.Cause
	cut   bool
	// reason and err say why the item is dead, or skipped, or tried again.
	reason foreign.Text
	err    error
	// received says that the receipt is written already.
	received bool
}

// judge classifies items that were handled.
func (j *job) judge(all []handled) []result {
	results := make([]result, 0, len(all))
	for _, one := range all {
		results = append(results, j.classify(one))
	}
	return results
}

// classify turns what a handler returned into a result, by the verbs of contracts.
func (j *job) classify(one handled) result {
	item, err := one.item, one.err
	r := result{item: item, received: one.received}
	if err == nil {
		r.state = eventsv1.OutcomeState_OUTCOME_STATE_DONE
		return r
	}
	// What is said is stored and shown.
	redactor := redact.New(nil, j.in)
	err = redactor.Error(err)
	r.err = err
	skip, skipped := contracts.AsSkip(err)
	asks, deferred := contracts.AsDeferral(err)
	switch {
	case skipped:
		r.state, r.reason = eventsv1.OutcomeState_OUTCOME_STATE_SKIPPED, foreign.Line(redactor.Text(skip.Reason))
		return r
	case errors.Is(err, foreign.ErrUnstorable):
		return r.dead(reasonUnstorable)
	case contracts.IsPermanent(err):
		return r.dead(reasonPermanent)
	case deferred:
		r.cause = deferral.CauseOf(err)
		if r.delay, r.cut = j.worker.Settings.Waits.Of(asks.Delay, int(item.GetDeferrals())); r.cut {
			j.worker.Log.Warn("an item asks to wait for longer than any wait may be; it is tried again before", "run", j.batch.GetRunId(), "event", item.GetEventType(),
				"external_id", item.GetExternalId(), "asked", asks.Delay, "delay", r.delay, "error", err)
		}
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
