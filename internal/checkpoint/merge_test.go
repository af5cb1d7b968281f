package checkpoint_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	"github.com/tributaryhq/tributary/internal/checkpoint"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

const (
	none     = eventsv1.OutcomeState_OUTCOME_STATE_UNSPECIFIED
	running  = eventsv1.OutcomeState_OUTCOME_STATE_RUNNING
	retrying = eventsv1.OutcomeState_OUTCOME_STATE_RETRYING
	dead     = eventsv1.OutcomeState_OUTCOME_STATE_DEAD
	skipped  = eventsv1.OutcomeState_OUTCOME_STATE_SKIPPED
	done     = eventsv1.OutcomeState_OUTCOME_STATE_DONE
)

// outcomes draws what a worker may report of an item. What an item stands for does not depend on who reports it.
func outcomes(states ...eventsv1.OutcomeState) *rapid.Generator[*eventsv1.Outcome] {
	return rapid.Custom(func(t *rapid.T) *eventsv1.Outcome {
		o := &eventsv1.Outcome{
			Index: rapid.Int32Range(0, 5).Draw(t, "index"), State: rapid.SampledFrom(states).Draw(t, "state"), Charges: rapid.Int32Range(0, 2).Draw(t, "charges"),
		}
		switch o.GetState() {
		case running:
			o.Incarnation = rapid.SampledFrom([]string{"a", "b"}).Draw(t, "incarnation")
		case retrying:
			o.Hop = rapid.Int32Range(1, 3).Draw(t, "hop")
			if o.Reason = rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "reason"); o.GetReason() != "" {
				o.Wait = &eventsv1.Wait{ExternalId: "x", Tries: rapid.Int32Range(0, 1).Draw(t, "tries"), Until: rapid.Int64Range(1, 2).Draw(t, "until")}
			}
		case done:
			o.Checkpoint = fmt.Append(nil, o.GetIndex())
		case skipped:
			// Two workers may be given different reasons, and older ones keep none.
			o.Checkpoint, o.Reason = fmt.Append(nil, o.GetIndex()), rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "reason")
		}
		return o
	})
}

func entries(states ...eventsv1.OutcomeState) *rapid.Generator[*eventsv1.Entry] {
	return rapid.Custom(func(t *rapid.T) *eventsv1.Entry {
		e := &eventsv1.Entry{
			Size: rapid.SampledFrom([]int32{0, 6}).Draw(t, "size"), ProgressAtDelivery: rapid.Uint64Range(0, 3).Draw(t, "progress"),
			Receipts: rapid.Bool().Draw(t, "receipts"),
		}
		for _, o := range rapid.SliceOfNDistinct(outcomes(states...), 0, 6, (*eventsv1.Outcome).GetIndex).Draw(t, "outcomes") {
			checkpoint.MergeInto(e, &eventsv1.Entry{Outcomes: []*eventsv1.Outcome{o}})
		}
		for _, index := range rapid.SliceOfNDistinct(rapid.Int32Range(0, 17), 0, 4, rapid.ID[int32]).Draw(t, "done") {
			marked := &eventsv1.Entry{Folded: [][]byte{fmt.Append(nil, index%3)}}
			checkpoint.MarkDone(marked, index)
			checkpoint.MergeInto(e, marked)
		}
		return e
	})
}

func join(all ...*eventsv1.Entry) *eventsv1.Entry {
	joined := &eventsv1.Entry{}
	for _, e := range all {
		checkpoint.MergeInto(joined, e)
	}
	return joined
}

func same(t *rapid.T, what string, a, b *eventsv1.Entry) {
	t.Helper()
	if diff := cmp.Diff(a, b, protocmp.Transform()); diff != "" {
		t.Fatalf("%s:\n%s", what, diff)
	}
}

func TestMergeIsAJoin(t *testing.T) {
	settled := entries(retrying, dead, skipped, done)
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := settled.Draw(t, "a"), settled.Draw(t, "b"), settled.Draw(t, "c")
		same(t, "not commutative", join(a, b), join(b, a))
		same(t, "not associative", join(join(a, b), c), join(a, join(b, c)))
		same(t, "not idempotent", join(a, b), join(a, b, a, b))
	})
}

func TestMergeWithMarks(t *testing.T) {
	any := entries(none, running, retrying, dead, skipped, done)
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := any.Draw(t, "a"), any.Draw(t, "b"), any.Draw(t, "c")
		same(t, "not associative", join(join(a, b), c), join(a, join(b, c)))
		same(t, "not idempotent", join(a, b), join(a, b, b))
		joined := join(a, b)
		for index := range int32(18) {
			x, y, got := checkpoint.Find(a, index), checkpoint.Find(b, index), checkpoint.Find(joined, index)
			if got.GetCharges() != max(x.GetCharges(), y.GetCharges()) {
				t.Fatalf("item %d has %d charges of %d and %d", index, got.GetCharges(), x.GetCharges(), y.GetCharges())
			}
			if most := max(x.GetState(), y.GetState()); checkpoint.HandedOver(most) && got.GetState() != most {
				t.Fatalf("item %d is %s of %s and %s", index, got.GetState(), x.GetState(), y.GetState())
			}
			told := none
			for at, state := range checkpoint.States(joined) {
				if at == index {
					told = max(told, state)
				}
			}
			if told != got.GetState() {
				t.Fatalf("item %d is told as %s and found as %s", index, told, got.GetState())
			}
		}
	})
}

func TestMergeSharesNothing(t *testing.T) {
	news := &eventsv1.Entry{Outcomes: []*eventsv1.Outcome{{Index: 1, State: running, Incarnation: "a"}, {Index: 0, State: done}}}
	before := proto.CloneOf(news)
	entry := &eventsv1.Entry{Outcomes: []*eventsv1.Outcome{{Index: 1, Charges: 1}}}
	checkpoint.MergeInto(entry, news)
	checkpoint.MergeInto(entry, &eventsv1.Entry{Outcomes: []*eventsv1.Outcome{{Index: 0, Charges: 2}}})
	if diff := cmp.Diff(before, news, protocmp.Transform()); diff != "" {
		t.Errorf("a merge changed its news:\n%s", diff)
	}
}

func TestMergeOrder(t *testing.T) {
	tests := []struct {
		name              string
		old, news, winner *eventsv1.Outcome
	}{
		{"a mark", nil, &eventsv1.Outcome{State: running, Incarnation: "a"}, &eventsv1.Outcome{State: running, Incarnation: "a"}},
		{
			"a later mark", &eventsv1.Outcome{State: running, Incarnation: "a"}, &eventsv1.Outcome{State: running, Incarnation: "b"},
			&eventsv1.Outcome{State: running, Incarnation: "b"},
		},
		{
			"an erased mark keeps its charges", &eventsv1.Outcome{State: running, Incarnation: "a", Charges: 1}, &eventsv1.Outcome{},
			&eventsv1.Outcome{Charges: 1},
		},
		{"a mark on a retry", &eventsv1.Outcome{State: retrying, Hop: 1}, &eventsv1.Outcome{State: running}, &eventsv1.Outcome{State: retrying, Hop: 1}},
		{"a later hop", &eventsv1.Outcome{State: retrying, Hop: 1}, &eventsv1.Outcome{State: retrying, Hop: 2}, &eventsv1.Outcome{State: retrying, Hop: 2}},
		{"an earlier hop", &eventsv1.Outcome{State: retrying, Hop: 2}, &eventsv1.Outcome{State: retrying, Hop: 1}, &eventsv1.Outcome{State: retrying, Hop: 2}},
		{"a hop that two workers published, the later one", waits(0, 1, "x", 1), waits(0, 1, "x", 2), waits(0, 1, "x", 2)},
		{"a hop that two workers published, the earlier one", waits(0, 1, "x", 2), waits(0, 1, "x", 1), waits(0, 1, "x", 2)},
		{"dead after a retry", &eventsv1.Outcome{State: retrying, Hop: 9}, &eventsv1.Outcome{State: dead}, &eventsv1.Outcome{State: dead}},
		{"skipped after dead", &eventsv1.Outcome{State: dead}, &eventsv1.Outcome{State: skipped}, &eventsv1.Outcome{State: skipped}},
		{
			"a skip of an older worker, without its reason", &eventsv1.Outcome{State: skipped, Reason: "a"}, &eventsv1.Outcome{State: skipped},
			&eventsv1.Outcome{State: skipped, Reason: "a"},
		},
		{
			"a skip after one of an older worker", &eventsv1.Outcome{State: skipped}, &eventsv1.Outcome{State: skipped, Reason: "a"},
			&eventsv1.Outcome{State: skipped, Reason: "a"},
		},
		{"done after skipped", &eventsv1.Outcome{State: skipped}, &eventsv1.Outcome{State: done}, &eventsv1.Outcome{State: done}},
		{"dead after done", &eventsv1.Outcome{State: done}, &eventsv1.Outcome{State: dead}, &eventsv1.Outcome{State: done}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			entry := &eventsv1.Entry{}
			if tt.old != nil {
				entry.Outcomes = append(entry.Outcomes, tt.old)
			}
			checkpoint.MergeInto(entry, &eventsv1.Entry{Outcomes: []*eventsv1.Outcome{tt.news}})
			if diff := cmp.Diff([]*eventsv1.Outcome{tt.winner}, entry.GetOutcomes(), protocmp.Transform()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestNothingButChargesIsKeptBesideAMarkOfDone(t *testing.T) {
	entry := &eventsv1.Entry{Outcomes: []*eventsv1.Outcome{
		{Index: 1, State: running, Incarnation: "a"}, {Index: 2, State: skipped, Reason: "a", Charges: 1}, {Index: 3, State: running, Incarnation: "a"},
	}}
	news := &eventsv1.Entry{Folded: [][]byte{[]byte("7")}}
	checkpoint.MarkDone(news, 1)
	checkpoint.MarkDone(news, 2)
	checkpoint.MergeInto(entry, news)
	want := &eventsv1.Entry{
		Outcomes: []*eventsv1.Outcome{{Index: 2, Charges: 1}, {Index: 3, State: running, Incarnation: "a"}}, Done: []byte{0b110}, Folded: [][]byte{[]byte("7")},
	}
	if diff := cmp.Diff(want, entry, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	if got := checkpoint.Find(entry, 2); got.GetState() != done || got.GetCharges() != 1 {
		t.Errorf("found %v", got)
	}
}

// TestMergeKeepsWhatItDoesNotKnow has an entry of a newer worker go through the merge of this one, and be joined with
// what that knows.
func TestMergeKeepsWhatItDoesNotKnow(t *testing.T) {
	newer := &eventsv1.Outcome{Index: 1, State: skipped}
	newer.ProtoReflect().SetUnknown([]byte{0xfa, 0x3f, 1, 'x'}) // field 1023
	entry := join(&eventsv1.Entry{Outcomes: []*eventsv1.Outcome{newer}}, &eventsv1.Entry{Outcomes: []*eventsv1.Outcome{
		{Index: 0, State: done}, {Index: 1, State: retrying, Hop: 1},
	}})
	if diff := cmp.Diff(newer, checkpoint.Find(entry, 1), protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
