package checkpoint_test

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

func waits(index, hop int32, id string, until int64) *eventsv1.Outcome {
	return &eventsv1.Outcome{
		Index: index, State: retrying, Hop: hop, Reason: "no",
		Wait: &eventsv1.Wait{EventType: "shop.Order", ExternalId: id, Tries: hop, Until: until},
	}
}

// TestReadWaiting finds what waits among the entries of a run: each item as its newest hop, and none that is finished
// since.
func TestReadWaiting(t *testing.T) {
	s, _ := open(t, natstest.New(t))
	hop := func(batch, index int32) checkpoint.Key {
		return checkpoint.Key{Run: "r", Attempt: 1, Batch: batch, Index: index}
	}
	var p checkpoint.Progress
	for _, u := range []checkpoint.Update{
		{Key: key("r", 1, 0), Entry: entry(4, waits(0, 1, "again", 30), waits(1, 1, "finished", 10), waits(2, 1, "first", 20), &eventsv1.Outcome{Index: 3, State: skipped})},
		{Key: hop(0, 0), Entry: entry(0, waits(0, 2, "again", 50), &eventsv1.Outcome{Index: 1, State: done})},
		{Key: key("r", 1, 1), Entry: entry(1, &eventsv1.Outcome{Index: 0, State: done})},
		{Key: key("r", 1, 2), Entry: entry(2, &eventsv1.Outcome{Index: 1, State: retrying, Hop: 1})},
	} {
		stored, err := s.Merge(t.Context(), u.Key, u.Entry)
		if err != nil {
			t.Fatal(err)
		}
		p.Apply(checkpoint.Update{Key: u.Key, Entry: stored})
	}
	all := []checkpoint.Waiting{
		{Batch: 2, Index: 1}, // an older worker has told nothing of it
		{Batch: 0, Index: 2, Why: "no", Wait: waits(2, 1, "first", 20).GetWait()},
		{Batch: 0, Index: 0, Why: "no", Wait: waits(0, 2, "again", 50).GetWait()},
	}
	keys := p.Waiting("r", 1, 100)
	equal(t, []checkpoint.Key{key("r", 1, 0), hop(0, 0), key("r", 1, 2)}, keys)
	got, err := s.ReadWaiting(t.Context(), keys, 100)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, all, got)
	if got, err = s.ReadWaiting(t.Context(), keys, 2); err != nil {
		t.Fatal(err)
	}
	equal(t, all[:2], got)
	equal(t, []checkpoint.Key{key("r", 1, 0), hop(0, 0)}, p.Waiting("r", 1, 2))
}

// TestWhatIsShownKeepsNoOutcomeFromBeingWritten has the reasons of a batch exceed what the broker takes as one message.
func TestWhatIsShownKeepsNoOutcomeFromBeingWritten(t *testing.T) {
	server := natstest.New(t)
	server.SetMaxPayload(32 << 10)
	s, _ := open(t, server)
	reason := strings.Repeat("x", checkpoint.MaxReason)
	half := func(from int32) *eventsv1.Entry {
		e := entry(512)
		for index := from; index < 512; index += 2 {
			e.Outcomes = append(e.Outcomes, &eventsv1.Outcome{Index: index, State: skipped, Reason: reason})
		}
		return e
	}
	for _, from := range []int32{0, 1} {
		if _, err := s.Merge(t.Context(), key("r", 1, 0), half(from)); err != nil {
			t.Fatal(err)
		}
	}
	stored, err := s.Read(t.Context(), key("r", 1, 0))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(stored.GetOutcomes()); n != 512 {
		t.Errorf("%d of 512 outcomes are written, in %d bytes", n, proto.Size(stored))
	}
}

// TestAWaitingItemIsSmall bounds what an entry gains for an item that waits, of usual size and at most.
func TestAWaitingItemIsSmall(t *testing.T) {
	size := func(o *eventsv1.Outcome) int { return proto.Size(entry(512, o)) }
	least := size(&eventsv1.Outcome{Index: 300, State: retrying, Hop: 1})
	for _, tt := range []struct {
		why, event, id string
		most           int
	}{
		{"POST https://api.example.com/v1/orders: 503 Service Unavailable", "shop.Order", "ord_1234567890", 120},
		{strings.Repeat("x", checkpoint.MaxReason), strings.Repeat("x", 200), strings.Repeat("x", 200), 640},
	} {
		o := &eventsv1.Outcome{Index: 300, State: retrying, Hop: 1, Reason: tt.why, Wait: &eventsv1.Wait{EventType: tt.event, ExternalId: tt.id, Tries: 4, Until: 1795824000}}
		added := size(o) - least
		t.Logf("an item that waits adds %d bytes", added)
		if added > tt.most {
			t.Errorf("an item that waits adds %d bytes, want at most %d", added, tt.most)
		}
	}
}
