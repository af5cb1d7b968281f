package bus_test

import (
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/pkg/events"
)

// A service that starts leaves the streams alone when they are as it wants them.
func TestApplyingAgainUpdatesNothing(t *testing.T) {
	t.Parallel()
	nc := natstest.New(t).Connect()
	b, err := bus.New(nc, bus.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	updates := make(chan *nats.Msg, 100)
	if _, err := nc.ChanSubscribe("$JS.EVENT.ADVISORY.STREAM.UPDATED.>", updates); err != nil {
		t.Fatal(err)
	}
	if err := b.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	other, err := bus.New(nc, bus.Options{Timing: events.Timing{AckWait: 3e9, WorkerLease: 3e9}})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Advisories come in order: one of the second round would come first.
	if subject := (<-updates).Subject; subject != "$JS.EVENT.ADVISORY.STREAM.UPDATED.KV_"+events.BucketWorkers {
		t.Errorf("%s was updated, want the one bucket whose setting has changed", subject)
	}
}
