package checkpoint

import (
	"bytes"
	"iter"
	"math/bits"
	"slices"

	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// MarkDone notes that an item is done, in one bit: its checkpoint must be among those that the entry has folded.
func MarkDone(entry *eventsv1.Entry, index int32) {
	for len(entry.GetDone()) <= int(index/8) {
		entry.Done = append(entry.GetDone(), 0)
	}
	entry.Done[index/8] |= 1 << (index % 8)
}

// States are the items of an entry and how far each is. An item may come twice; then the state that is further on counts.
func States(entry *eventsv1.Entry) iter.Seq2[int32, eventsv1.OutcomeState] {
	return func(yield func(int32, eventsv1.OutcomeState) bool) {
		for _, outcome := range entry.GetOutcomes() {
			if !yield(outcome.GetIndex(), outcome.GetState()) {
				return
			}
		}
		for at, set := range entry.GetDone() {
			for ; set != 0; set &= set - 1 {
				if !yield(int32(8*at+bits.TrailingZeros8(set)), eventsv1.OutcomeState_OUTCOME_STATE_DONE) {
					return
				}
			}
		}
	}
}

func isDone(entry *eventsv1.Entry, index int32) bool {
	return index >= 0 && int(index/8) < len(entry.GetDone()) && entry.GetDone()[index/8]&(1<<(index%8)) != 0
}

// AllDone reports whether every item of a batch is done, from the entry that covers the whole batch. It is false for one that speaks of more items than there are.
func AllDone(entry *eventsv1.Entry) bool {
	for index := range States(entry) {
		if index >= entry.GetSize() {
			return false
		}
	}
	for index := range entry.GetSize() {
		if isDone(entry, index) {
			continue
		}
		at, found := slices.BinarySearchFunc(entry.GetOutcomes(), index, byIndex)
		if !found || entry.GetOutcomes()[at].GetState() != eventsv1.OutcomeState_OUTCOME_STATE_DONE {
			return false
		}
	}
	return entry.GetSize() > 0
}

// dropDone leaves nothing of the outcomes of items that are marked as done but how often they were charged: a mark of running, for one, is
// of no more interest.
func dropDone(entry *eventsv1.Entry) {
	if len(entry.GetDone()) == 0 {
		return
	}
	entry.Outcomes = slices.DeleteFunc(entry.GetOutcomes(), func(o *eventsv1.Outcome) bool {
		index := o.GetIndex()
		if !isDone(entry, index) {
			return false
		}
		charges := o.GetCharges()
		o.Reset()
		o.Index, o.Charges = index, charges
		return charges == 0
	})
}

// mergeDone joins the marks and what the checkpoints of their items fold to. Reducers that may be applied to parts take a repeated value, so
// it does no harm when two writes speak of the same item.
func mergeDone(entry, news *eventsv1.Entry) {
	for len(entry.GetDone()) < len(news.GetDone()) {
		entry.Done = append(entry.GetDone(), 0)
	}
	for at, set := range news.GetDone() {
		entry.Done[at] |= set
	}
	for _, value := range news.GetFolded() {
		if at, found := slices.BinarySearchFunc(entry.GetFolded(), value, bytes.Compare); !found {
			entry.Folded = slices.Insert(entry.GetFolded(), at, slices.Clone(value))
		}
	}
}
