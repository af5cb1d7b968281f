package itemworker_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/wire"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
	itemworker "github.com/tributaryhq/tributary/services/item-worker"
)

func newBus(t *testing.T, server *natstest.Server) *bus.Bus {
	t.Helper()
	b, err := bus.New(server.Connect(), bus.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

// hops reads the delayed messages and returns the indexes of the items of each, in the order of their first ones.
func hops(t *testing.T, b *bus.Bus) [][]int32 {
	t.Helper()
	js, err := jetstream.New(b.Conn())
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), wire.StreamItems)
	if err != nil {
		t.Fatal(err)
	}
	info, err := stream.Info(t.Context(), jetstream.WithSubjectFilter("tributary.retry.>"))
	if err != nil {
		t.Fatal(err)
	}
	var all [][]int32
	for subject := range info.State.Subjects {
		if _, err := wire.ParseRetrySubject(subject); err != nil {
			t.Error(err)
		}
		m, err := stream.GetLastMsgForSubject(t.Context(), subject)
		if err != nil {
			t.Fatal(err)
		}
		var batch eventsv1.ItemBatch
		if err := proto.Unmarshal(m.Data, &batch); err != nil {
			t.Fatal(err)
		}
		var indexes []int32
		for _, item := range batch.GetItems() {
			indexes = append(indexes, item.GetIndex())
		}
		all = append(all, indexes)
	}
	if int(info.State.Msgs) != len(all) {
		t.Errorf("%d messages wait on %d subjects", info.State.Msgs, len(all))
	}
	slices.SortFunc(all, slices.Compare)
	return all
}

// TestGroupsWithTheSameFirstItemWaitSideBySide sends the items of one batch on twice, in other groups, as after a
// crash. The broker keeps one schedule for each subject.
func TestGroupsWithTheSameFirstItemWaitSideBySide(t *testing.T) {
	t.Parallel()
	b := newBus(t, natstest.New(t))
	batch := batchOf(3)
	batch.IntegrationId = "integration"
	items := batch.GetItems()
	for _, group := range [][]*eventsv1.Item{{items[0], items[1]}, {items[2], items[0]}, {items[0], items[1]}} {
		if err := itemworker.Hop(t.Context(), b, batch, group, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([][]int32{{0, 1}, {0, 2}}, hops(t, b)); diff != "" {
		t.Error(diff)
	}
}

// TestRetriesAreSplitWhenTheLimitWasLowered has a batch be tried again that the broker took as one message and does not
// take any more. Each item travels, but the one that is too large alone.
func TestRetriesAreSplitWhenTheLimitWasLowered(t *testing.T) {
	t.Parallel()
	server := natstest.New(t)
	b := newBus(t, server)
	batch := batchOf(9)
	batch.IntegrationId = "integration"
	for _, item := range batch.GetItems() {
		item.Payload = bytes.Repeat([]byte("x"), 10_000)
	}
	batch.GetItems()[3].Payload = bytes.Repeat([]byte("x"), 60_000)
	server.SetMaxPayload(32 << 10)
	lowered, err := bus.New(server.Connect(), bus.Options{})
	if err != nil {
		t.Fatal(err)
	}
	died, sentOn := itemworker.SendOn(t.Context(), lowered, batch)
	if diff := cmp.Diff(map[int32]string{3: "too large"}, died); diff != "" {
		t.Error(diff)
	}
	sent := hops(t, b)
	for what, indexes := range map[string][]int32{"published": slices.Concat(sent...), "to be noted": sentOn} {
		slices.Sort(indexes)
		if diff := cmp.Diff([]int32{0, 1, 2, 4, 5, 6, 7, 8}, indexes); diff != "" {
			t.Error(what, diff)
		}
	}
	if len(sent) > 5 {
		t.Errorf("%d messages for 8 items, of which two fit into one", len(sent))
	}
}
