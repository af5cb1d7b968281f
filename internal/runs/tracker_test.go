package runs

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/internal/checkpoint"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// TestTracker has attempts become complete before and after the tracker has caught up, and forgets some of them.
func TestTracker(t *testing.T) {
	t.Parallel()
	tracker := NewTracker()
	finish := func(run string, attempt int32) {
		key := checkpoint.Key{Run: run, Attempt: attempt}
		tracker.Apply(checkpoint.Update{
			Key:   checkpoint.Key{Run: run, Attempt: attempt, Index: checkpoint.First},
			Entry: &eventsv1.Entry{Size: 1, Done: []byte{1}},
		})
		tracker.Apply(checkpoint.Update{Key: key, Total: &eventsv1.Total{Items: 1, Batches: 1}})
	}
	wants := func(what string, want ...Attempt) {
		t.Helper()
		got := tracker.Complete()
		slices.SortFunc(got, func(a, b Attempt) int { return int(a.Number - b.Number) })
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: complete attempts (-want +got):\n%s", what, diff)
		}
	}
	finish("a", 1)
	finish("a", 2)
	tracker.CaughtUp()
	finish("a", 2) // again: it was complete before
	finish("a", 3)
	finish("b", 4)
	tracker.Apply(checkpoint.Update{
		Key:   checkpoint.Key{Run: "b", Attempt: 5},
		Total: &eventsv1.Total{Items: 1, Batches: 1},
	})
	wants("at first", Attempt{"a", 1}, Attempt{"a", 2}, Attempt{"a", 3}, Attempt{"b", 4})
	for attempt, fresh := range map[Attempt]bool{
		{"a", 2}: false, {"a", 3}: true, {"b", 4}: true, {"b", 5}: false,
		{"c", 1}: false,
	} {
		if got := tracker.IsFresh(attempt); got != fresh {
			t.Errorf("attempt %v is fresh: %t, want %t", attempt, got, fresh)
		}
	}
	select {
	case <-tracker.Ready():
	default:
		t.Error("nothing says that attempts are complete")
	}
	tracker.Forget(Attempt{"a", 2})
	wants("without the second attempt of a", Attempt{"a", 3}, Attempt{"b", 4})
	if r, total := tracker.reached(Attempt{"a", 3}); r.Done != 1 || !total {
		t.Errorf("the third attempt of a has come to %+v, with a total: %t", r, total)
	}
	if r, total := tracker.reached(Attempt{"a", 2}); r.Done != 0 || total {
		t.Errorf("the second attempt of a has come to %+v after it was forgotten", r)
	}
	tracker.Forget(Attempt{"a", 3})
	if got := tracker.Runs(); !slices.Equal(got, []string{"b"}) {
		t.Errorf("the runs %v are tracked, want b", got)
	}
	tracker.Drop(map[string]bool{"b": true, "c": true})
	wants("without b")
	if got := tracker.Runs(); len(got) > 0 {
		t.Errorf("the runs %v are tracked, want none", got)
	}
}
