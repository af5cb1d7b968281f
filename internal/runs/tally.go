package runs

import (
	"bytes"

	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/postgres"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// tally is the state of every item of an attempt. Of a batch whose items are all done, as nearly all are, it keeps
// their number. Of other batches it keeps one byte for each item.
type tally struct {
	done  map[int32]int32
	mixed map[int32][]byte
}

func newTally() *tally { return &tally{done: map[int32]int32{}, mixed: map[int32][]byte{}} }

// apply takes what an entry says. Nothing more becomes of an item that is done.
func (t *tally) apply(u checkpoint.Update) {
	if _, done := t.done[u.Key.Batch]; done {
		return
	}
	if u.Key.Index == checkpoint.First && checkpoint.AllDone(u.Entry) {
		t.done[u.Key.Batch] = u.Entry.GetSize()
		delete(t.mixed, u.Key.Batch)
		return
	}
	for index, state := range checkpoint.States(u.Entry) {
		t.raise(position{u.Key.Batch, index}, state)
	}
}

func (t *tally) raise(at position, state eventsv1.OutcomeState) {
	if at.index < 0 || at.index >= checkpoint.MaxIndex {
		return
	}
	states := t.mixed[at.batch]
	for int(at.index) >= len(states) {
		states = append(states, 0)
	}
	states[at.index] = max(states[at.index], byte(state))
	t.mixed[at.batch] = states
}

func (t *tally) at(at position) eventsv1.OutcomeState {
	if at.index < t.done[at.batch] {
		return eventsv1.OutcomeState_OUTCOME_STATE_DONE
	}
	if states := t.mixed[at.batch]; int(at.index) < len(states) {
		return eventsv1.OutcomeState(states[at.index])
	}
	return eventsv1.OutcomeState_OUTCOME_STATE_UNSPECIFIED
}

func (t *tally) count(state eventsv1.OutcomeState) (n int64) {
	if state == eventsv1.OutcomeState_OUTCOME_STATE_DONE {
		for _, size := range t.done {
			n += int64(size)
		}
	}
	for _, states := range t.mixed {
		n += int64(bytes.Count(states, []byte{byte(state)}))
	}
	return n
}

// without counts the items that are done or skipped and that no receipt has.
func (t *tally) without(receipts []postgres.Receipt) (n int64) {
	by := make(map[int32]*postgres.Receipt, len(receipts))
	for i := range receipts {
		by[receipts[i].Batch] = &receipts[i]
	}
	none := &postgres.Receipt{}
	of := func(batch int32) *postgres.Receipt {
		if r := by[batch]; r != nil {
			return r
		}
		return none
	}
	for batch, size := range t.done {
		receipt := of(batch)
		for index := range size {
			if !receipt.Has(index) {
				n++
			}
		}
	}
	for batch, states := range t.mixed {
		receipt := of(batch)
		for index, state := range states {
			if eventsv1.OutcomeState(state) >= eventsv1.OutcomeState_OUTCOME_STATE_SKIPPED &&
				!receipt.Has(int32(index)) {
				n++
			}
		}
	}
	return n
}
