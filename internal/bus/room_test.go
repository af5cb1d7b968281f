package bus_test

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/wire"
)

// TestRoom fills a stream by number, a bucket by size, and asks about each.
func TestRoom(t *testing.T) {
	t.Parallel()
	b := newBus(t, lasting(t, natstest.New(t)), bus.Options{})
	js, err := jetstream.New(b.Conn())
	if err != nil {
		t.Fatal(err)
	}
	survey(t, b)
	bound := func(name string, adjust func(*jetstream.StreamConfig)) {
		t.Helper()
		config := stream(t, b, name).Config
		adjust(&config)
		if _, err := js.UpdateStream(t.Context(), config); err != nil {
			t.Fatal(err)
		}
	}
	bound(wire.StreamSync, func(c *jetstream.StreamConfig) { c.Discard, c.MaxMsgs = jetstream.DiscardNew, 1 })
	for _, subject := range []string{"tributary.sync.due.nobody.n", "$KV." + wire.BucketKeys + ".k"} {
		if _, err := js.Publish(t.Context(), subject, []byte(strings.Repeat("x", 200))); err != nil {
			t.Fatal(err)
		}
	}
	bound("KV_"+wire.BucketKeys, func(c *jetstream.StreamConfig) {
		c.MaxBytes = int64(stream(t, b, c.Name).State.Bytes)
	})
	says := func(want string, stores ...string) {
		t.Helper()
		eventually(t, func() bool {
			b.Look()
			err := b.Room(stores...)
			return want == "" && err == nil || want != "" && err != nil && strings.Contains(err.Error(), want)
		})
	}
	says("TRIBUTARY_SYNC is full: it has 1 messages", wire.StreamItems, wire.StreamSync)
	says("tributary_keys is full", wire.BucketKeys)
	says("", wire.StreamItems, wire.StreamWebhooks, wire.BucketCheckpoints)
	bound(wire.StreamSync, func(c *jetstream.StreamConfig) { c.MaxMsgs = -1 })
	bound("KV_"+wire.BucketKeys, func(c *jetstream.StreamConfig) { c.MaxBytes = -1 })
	says("", wire.StreamSync, wire.BucketKeys)
}
