package scheduler

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/internal/checkpoint"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

const (
	done     = eventsv1.OutcomeState_OUTCOME_STATE_DONE
	dead     = eventsv1.OutcomeState_OUTCOME_STATE_DEAD
	skipped  = eventsv1.OutcomeState_OUTCOME_STATE_SKIPPED
	retrying = eventsv1.OutcomeState_OUTCOME_STATE_RETRYING
)

// TestTally tells the same entries in both orders, which must come to the same.
func TestTally(t *testing.T) {
	t.Parallel()
	outcome := func(index int32, state eventsv1.OutcomeState) *eventsv1.Outcome {
		return &eventsv1.Outcome{Index: index, State: state}
	}
	first := func(batch int32, entry *eventsv1.Entry) checkpoint.Update {
		return checkpoint.Update{Key: checkpoint.Key{Batch: batch, Index: checkpoint.First}, Entry: entry}
	}
	updates := []checkpoint.Update{
		{Total: &eventsv1.Total{Items: 12}},
		first(0, &eventsv1.Entry{Size: 9, Done: []byte{0xff, 0x01}}),
		first(1, &eventsv1.Entry{Size: 2, Outcomes: []*eventsv1.Outcome{outcome(0, done), outcome(1, done)}}),
		// One of a batch is sent on and dead at last, another comes through.
		first(2, &eventsv1.Entry{Size: 4, Done: []byte{0x01}, Outcomes: []*eventsv1.Outcome{outcome(1, retrying), outcome(2, retrying), outcome(3, skipped)}}),
		{Key: checkpoint.Key{Batch: 2, Index: 1}, Entry: &eventsv1.Entry{Outcomes: []*eventsv1.Outcome{outcome(1, dead)}}},
		{Key: checkpoint.Key{Batch: 2, Index: 2}, Entry: &eventsv1.Entry{Outcomes: []*eventsv1.Outcome{outcome(2, done)}}},
		// A worker was slow to tell of a hop of an item that another has done.
		{Key: checkpoint.Key{Batch: 0, Index: 3}, Entry: &eventsv1.Entry{Outcomes: []*eventsv1.Outcome{outcome(3, retrying)}}},
	}
	for _, backwards := range []bool{false, true} {
		states := newTally()
		for i := range updates {
			if backwards {
				i = len(updates) - 1 - i
			}
			states.apply(updates[i])
		}
		want := map[eventsv1.OutcomeState]int64{done: 13, dead: 1, skipped: 1, retrying: 0}
		got := map[eventsv1.OutcomeState]int64{}
		for state := range want {
			got[state] = states.count(state)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("backwards %v (-want +got):\n%s", backwards, diff)
		}
		for at, want := range map[position]eventsv1.OutcomeState{{0, 8}: done, {0, 9}: 0, {1, 1}: done, {2, 0}: done, {2, 1}: dead, {2, 2}: done, {2, 3}: skipped, {3, 0}: 0} {
			if got := states.at(at); got != want {
				t.Errorf("backwards %v: %v is %v, want %v", backwards, at, got, want)
			}
		}
		if len(states.mixed) != 1 {
			t.Errorf("backwards %v: %d batches are kept item by item, want the one that is mixed", backwards, len(states.mixed))
		}
	}
}
