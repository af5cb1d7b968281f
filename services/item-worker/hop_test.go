package itemworker_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
	itemworker "github.com/tributaryhq/tributary/services/item-worker"
)

// TestGroupsWithTheSameFirstItemWaitSideBySide sends the items of one batch on twice, in other groups, as after a crash. The broker keeps one
// schedule for each subject.
func TestGroupsWithTheSameFirstItemWaitSideBySide(t *testing.T) {
	t.Parallel()
	b, err := bus.New(natstest.New(t).Connect(), bus.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	batch := batchOf(3)
	batch.IntegrationId = "integration"
	items := batch.GetItems()
	for _, group := range [][]*eventsv1.Item{{items[0], items[1]}, {items[2], items[0]}, {items[0], items[1]}} {
		if err := itemworker.Hop(t.Context(), b, batch, group, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	js, err := jetstream.New(b.Conn())
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), events.StreamItems)
	if err != nil {
		t.Fatal(err)
	}
	info, err := stream.Info(t.Context(), jetstream.WithSubjectFilter("tributary.retry.>"))
	if err != nil {
		t.Fatal(err)
	}
	if len(info.State.Subjects) != 2 || info.State.Msgs != 2 {
		t.Errorf("%d messages wait on %v, want one of each group", info.State.Msgs, info.State.Subjects)
	}
	for subject := range info.State.Subjects {
		if _, err := events.ParseRetrySubject(subject); err != nil {
			t.Error(err)
		}
	}
}
