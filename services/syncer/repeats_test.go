package syncer

import (
	"strconv"
	"testing"

	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

func TestRepeats(t *testing.T) {
	t.Parallel()
	item := func(event, id, checkpoint, payload string) *eventsv1.Item {
		return &eventsv1.Item{EventType: event, ExternalId: id, Checkpoint: []byte(checkpoint), Payload: []byte(payload)}
	}
	r := repeats{shelves: new(shelves)}
	// The second enumeration finds what the first has left behind.
	for range 2 {
		r.start()
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
}

// TestRepeatsRemembersWhatCameLast has every record come again a thousand records later, and the first once more after far more than are remembered.
func TestRepeatsRemembersWhatCameLast(t *testing.T) {
	t.Parallel()
	const apart, many = 1000, 1_000_000
	r := repeats{shelves: new(shelves)}
	r.start()
	numbered := func(n int) *eventsv1.Item {
		return &eventsv1.Item{ExternalId: strconv.Itoa(n), Payload: []byte("same")}
	}
	for n := range many {
		if r.add(numbered(n)) {
			t.Fatalf("record %d is new and was taken for a repeated one", n)
		}
		if n >= apart && !r.add(numbered(n-apart)) {
			t.Fatalf("record %d came again %d records later and was taken for a new one", n-apart, apart)
		}
	}
	if r.add(numbered(0)) {
		t.Error("the first of a million records is still remembered")
	}
}

func BenchmarkRepeats(b *testing.B) {
	r := repeats{shelves: new(shelves)}
	r.start()
	item := &eventsv1.Item{EventType: "order", Checkpoint: []byte("7"), Payload: make([]byte, 600)}
	for n := 0; b.Loop(); n++ {
		item.ExternalId = strconv.Itoa(n)
		r.add(item)
	}
}
