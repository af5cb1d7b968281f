package syncer

import (
	"fmt"
	"testing"

	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

func TestRepeats(t *testing.T) {
	t.Parallel()
	item := func(event, id, checkpoint, payload string) *eventsv1.Item {
		return &eventsv1.Item{EventType: event, ExternalId: id, Checkpoint: []byte(checkpoint), Payload: []byte(payload)}
	}
	r := newRepeats(100)
	for at, step := range []struct {
		item *eventsv1.Item
		want bool
	}{
		{item("order", "1", "7", "a"), false},
		{item("order", "1", "7", "a"), true},
		{item("order", "2", "7", "a"), false},
		{item("customer", "1", "7", "a"), false},
		{item("order", "1", "8", "a"), false},  // another checkpoint is another item
		{item("order", "1", "8", "b"), false},  // so is another content
		{item("order", "1", "7", "a"), false},  // and one that has changed back
		{item("order", "1", "7", "a"), true},   // which is the newest now
		{item("a", "order1", "7", "a"), false}, // parts of one do not run into the next
		{item("ao", "rder1", "7", "a"), false},
		{item("order", "", "7", "a"), false}, // nobody can tell
		{item("order", "", "7", "a"), false},
	} {
		if got := r.add(step.item); got != step.want {
			t.Errorf("step %d, %v: repeated %v, want %v", at, step.item, got, step.want)
		}
	}
}

// TestRepeatsForgetInConstantMemory has records come again after fewer others than are remembered, and after far more.
func TestRepeatsForgetInConstantMemory(t *testing.T) {
	t.Parallel()
	const most = 64
	r := newRepeats(most)
	numbered := func(n int) *eventsv1.Item { return &eventsv1.Item{ExternalId: fmt.Sprint(n), Payload: []byte("same")} }
	for n := range 20 * most {
		if r.add(numbered(n)) {
			t.Fatalf("record %d is new and was taken for a repeated one", n)
		}
		// Every record comes twice, so that there are as many in between as are remembered.
		if back := n - most/2 + 1; back >= 0 && !r.add(numbered(back)) {
			t.Fatalf("record %d came again and was taken for a new one", back)
		}
		if kept := len(r.young) + len(r.old); kept > 2*most {
			t.Fatalf("%d records are kept, at most %d should be", kept, 2*most)
		}
	}
	if r.add(numbered(0)) {
		t.Error("the first record is remembered after twenty times as many as should be")
	}
}
