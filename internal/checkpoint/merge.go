package checkpoint

import (
	"cmp"
	"slices"

	"google.golang.org/protobuf/proto"

	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// merge joins news into entry, and shares nothing with it. For finished and retrying outcomes it is commutative, associative and idempotent, so that two workers with one
// batch, or a write that is repeated, end in the same entry; among marks of running the last one counts.
func merge(entry, news *eventsv1.Entry) {
	entry.Size = max(entry.GetSize(), news.GetSize())
	entry.ProgressAtDelivery = max(entry.GetProgressAtDelivery(), news.GetProgressAtDelivery())
	entry.Receipts = entry.GetReceipts() || news.GetReceipts()
	mergeDone(entry, news)
	for _, outcome := range news.GetOutcomes() {
		at, found := slices.BinarySearchFunc(entry.Outcomes, outcome.GetIndex(), byIndex)
		if !found {
			entry.Outcomes = slices.Insert(entry.Outcomes, at, proto.CloneOf(outcome))
			continue
		}
		charges := max(entry.Outcomes[at].GetCharges(), outcome.GetCharges())
		if beats(outcome, entry.Outcomes[at]) {
			entry.Outcomes[at] = proto.CloneOf(outcome)
		}
		entry.Outcomes[at].Charges = charges
	}
	dropDone(entry)
}

// Find returns an item's outcome in an entry, or nil. That of an item which is done without one is put together.
func Find(entry *eventsv1.Entry, index int32) *eventsv1.Outcome {
	var outcome *eventsv1.Outcome
	if at, found := slices.BinarySearchFunc(entry.GetOutcomes(), index, byIndex); found {
		outcome = entry.GetOutcomes()[at]
	}
	if isDone(entry, index) && outcome.GetState() != eventsv1.OutcomeState_OUTCOME_STATE_DONE {
		return &eventsv1.Outcome{Index: index, State: eventsv1.OutcomeState_OUTCOME_STATE_DONE, Charges: outcome.GetCharges()}
	}
	return outcome
}

// beats orders outcomes: none < running < retrying (by hop) < dead < skipped < done, and by what they tell where two
// workers report the same. A later mark of running replaces an earlier one, and an unspecified state erases a mark of
// running.
func beats(a, b *eventsv1.Outcome) bool {
	if b.GetState() <= eventsv1.OutcomeState_OUTCOME_STATE_RUNNING && a.GetState() <= eventsv1.OutcomeState_OUTCOME_STATE_RUNNING {
		return true
	}
	if a.GetState() != b.GetState() {
		return a.GetState() > b.GetState()
	}
	if a.GetHop() != b.GetHop() {
		return a.GetHop() > b.GetHop()
	}
	return cmp.Or(
		cmp.Compare(a.GetReason(), b.GetReason()), cmp.Compare(a.GetWait().GetUntil(), b.GetWait().GetUntil()),
		cmp.Compare(a.GetWait().GetTries(), b.GetWait().GetTries()),
	) > 0
}

func byIndex(outcome *eventsv1.Outcome, index int32) int { return int(outcome.GetIndex()) - int(index) }

// Finished reports whether nothing more will happen to the item in its run.
func Finished(state eventsv1.OutcomeState) bool {
	return state >= eventsv1.OutcomeState_OUTCOME_STATE_DEAD
}

// HandedOver reports whether the item needs no more work from the message that brought it.
func HandedOver(state eventsv1.OutcomeState) bool {
	return state >= eventsv1.OutcomeState_OUTCOME_STATE_RETRYING
}
