package runs

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/postgres"
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
		first(2, &eventsv1.Entry{Size: 4, Done: []byte{0x01}, Outcomes: []*eventsv1.Outcome{
			outcome(1, retrying),
			outcome(2, retrying), outcome(3, skipped),
		}}),
		{
			Key:   checkpoint.Key{Batch: 2, Index: 1},
			Entry: &eventsv1.Entry{Outcomes: []*eventsv1.Outcome{outcome(1, dead)}},
		},
		{
			Key:   checkpoint.Key{Batch: 2, Index: 2},
			Entry: &eventsv1.Entry{Outcomes: []*eventsv1.Outcome{outcome(2, done)}},
		},
		// A worker was slow to tell of a hop of an item that another has done.
		{
			Key:   checkpoint.Key{Batch: 0, Index: 3},
			Entry: &eventsv1.Entry{Outcomes: []*eventsv1.Outcome{outcome(3, retrying)}},
		},
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
		for at, want := range map[position]eventsv1.OutcomeState{
			{0, 8}: done, {0, 9}: 0, {1, 1}: done, {2, 0}: done,
			{2, 1}: dead, {2, 2}: done, {2, 3}: skipped, {3, 0}: 0,
		} {
			if got := states.at(at); got != want {
				t.Errorf("backwards %v: %v is %v, want %v", backwards, at, got, want)
			}
		}
		if len(states.mixed) != 1 {
			t.Errorf("backwards %v: %d batches are kept item by item, want the one that is mixed", backwards,
				len(states.mixed))
		}
	}
}

// TestTallyWithoutReceipts counts what is done or skipped and has no receipt, and nothing else.
func TestTallyWithoutReceipts(t *testing.T) {
	t.Parallel()
	outcome := func(index int32, state eventsv1.OutcomeState) *eventsv1.Outcome {
		return &eventsv1.Outcome{Index: index, State: state}
	}
	states := newTally()
	whole := &eventsv1.Entry{Size: 512}
	for index := range int32(512) {
		checkpoint.MarkDone(whole, index)
	}
	states.apply(checkpoint.Update{Key: checkpoint.Key{Batch: 0, Index: checkpoint.First}, Entry: whole})
	states.apply(checkpoint.Update{Key: checkpoint.Key{Batch: 1, Index: checkpoint.First}, Entry: &eventsv1.Entry{
		Size: 5, Done: []byte{0x01}, Outcomes: []*eventsv1.Outcome{
			outcome(1, skipped), outcome(2, dead),
			outcome(3, retrying),
		},
	}})
	states.apply(checkpoint.Update{
		Key:   checkpoint.Key{Batch: 1, Index: 4},
		Entry: &eventsv1.Entry{Outcomes: []*eventsv1.Outcome{outcome(4, done)}},
	})
	receipt := func(batch int32, indexes ...int32) postgres.Receipt {
		r := postgres.Receipt{Batch: batch}
		for _, index := range indexes {
			r.Add(index)
		}
		return r
	}
	all := receipt(0)
	for index := range int32(512) {
		all.Add(index)
	}
	allButLast := all
	allButLast.Done[63] &= 0x7f
	for name, tt := range map[string]struct {
		receipts []postgres.Receipt
		want     int64
	}{
		"all":                                  {[]postgres.Receipt{all, receipt(1, 0, 1, 4)}, 0},
		"none":                                 {nil, 515},
		"the last of a batch":                  {[]postgres.Receipt{allButLast, receipt(1, 0, 1, 4)}, 1},
		"a skipped one":                        {[]postgres.Receipt{all, receipt(1, 0, 4)}, 1},
		"a retried one":                        {[]postgres.Receipt{all, receipt(1, 0, 1)}, 1},
		"as many, but of others":               {[]postgres.Receipt{all, receipt(1, 0, 2, 3)}, 2},
		"more than the bucket has, by a crash": {[]postgres.Receipt{all, receipt(1, 0, 1, 2, 3, 4), receipt(7, 1)}, 0},
	} {
		if got := states.without(tt.receipts); got != tt.want {
			t.Errorf("%s: %d items lack a receipt, want %d", name, got, tt.want)
		}
	}
}
