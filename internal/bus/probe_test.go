package bus_test

import (
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/wire"
)

// A broker that can be reached and stores nothing is not good enough.
func TestStoring(t *testing.T) {
	server := natstest.New(t)
	b := newBus(t, lasting(t, server), bus.Options{})
	js, err := jetstream.New(b.Conn())
	if err != nil {
		t.Fatal(err)
	}
	name := "KV_" + wire.BucketWorkers
	size := func(bytes int64) {
		t.Helper()
		config := stream(t, b, name).Config
		config.MaxBytes = bytes
		s, err := js.UpdateStream(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		// A value that replaces another is always let in.
		if err := s.Purge(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	storing := func(want bool) {
		t.Helper()
		eventually(t, func() bool { return (b.Storing(t.Context()) == nil) == want })
	}
	storing(true)
	size(1)
	storing(false)
	if b.Ready() != nil {
		t.Error("the broker can't be reached")
	}
	size(-1)
	storing(true)
	// It leaves one value, however often it is asked.
	if got := stream(t, b, name).State.Msgs; got != 1 {
		t.Errorf("the bucket has %d values of one process, want 1", got)
	}
	server.Stop()
	storing(false)
	server.Start()
	storing(true)
	if err := js.DeleteStream(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	storing(true)
}

// A stream that is away says nothing about the others.
func TestAnswers(t *testing.T) {
	b := newBus(t, lasting(t, natstest.New(t)), bus.Options{})
	if err := b.Answers(t.Context(), wire.StreamItems, bus.StreamOf(wire.BucketLimits)); err != nil {
		t.Error(err)
	}
	if err := b.Answers(t.Context(), wire.StreamItems, "OTHER"); err == nil {
		t.Error("a stream that is not there answers")
	}
}
