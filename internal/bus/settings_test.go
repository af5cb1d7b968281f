package bus_test

import (
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/events"
)

// TestSettingsThatLoseMessagesAreSetBack edits streams and buckets as an operator may: what loses messages or refuses
// what a stream is there for is set back, and the rest is left.
func TestSettingsThatLoseMessagesAreSetBack(t *testing.T) {
	t.Parallel()
	var warned atomic.Bool
	b := newBus(t, lasting(t, natstest.New(t)), bus.Options{Log: slog.New(onRecord(func() { warned.Store(true) }))})
	survey(t, b)
	checkpoints := "KV_" + wire.BucketCheckpoints
	for name, test := range map[string]struct {
		stream string
		edit   func(c *jetstream.StreamConfig)
	}{
		"few messages":  {wire.StreamItems, func(c *jetstream.StreamConfig) { c.MaxMsgs = 100 }},
		"few bytes":     {wire.StreamSync, func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 20 }},
		"short lives":   {wire.StreamCommands, func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour }},
		"shorter lives": {events.StreamEvents, func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour }},
		"old ones make way": {wire.StreamWebhooks, func(c *jetstream.StreamConfig) {
			c.Discard = jetstream.DiscardOld
		}},
		"one for each":        {wire.StreamItems, func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 1 }},
		"small messages":      {wire.StreamItems, func(c *jetstream.StreamConfig) { c.MaxMsgSize = 2000 }},
		"short memory":        {wire.StreamSync, func(c *jetstream.StreamConfig) { c.Duplicates = time.Second }},
		"no acknowledgements": {events.StreamEvents, func(c *jetstream.StreamConfig) { c.NoAck = true }},
		"other subjects": {wire.StreamCommands, func(c *jetstream.StreamConfig) {
			c.Subjects = []string{"elsewhere.>"}
		}},
		"values that end": {checkpoints, func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour }},
		"values that make way": {checkpoints, func(c *jetstream.StreamConfig) {
			c.Discard, c.MaxMsgs = jetstream.DiscardOld, 10
		}},
	} {
		wanted := stream(t, b, test.stream).Config
		edited := wanted
		test.edit(&edited)
		if _, err := streams(t, b).UpdateStream(t.Context(), edited); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		b.Miss()
		eventually(t, func() bool { return cmp.Equal(wanted, stream(t, b, test.stream).Config) })
	}
	if !warned.Load() {
		t.Error("no line tells of it")
	}
	left := stream(t, b, wire.StreamCommands).Config
	left.Discard, left.MaxMsgs, left.Description = jetstream.DiscardNew, 1_000_000, "ours"
	if _, err := streams(t, b).UpdateStream(t.Context(), left); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		surveyed := b.Surveyed()
		b.Miss()
		eventually(t, func() bool { return b.Surveyed() > surveyed })
	}
	if got := stream(t, b, wire.StreamCommands).Config; got.MaxMsgs != 1_000_000 || got.Description != "ours" {
		t.Errorf("settings that lose nothing became %+v", got)
	}
}

// TestSettingsOfConsumersAreSetBack edits a consumer so that it hands nothing out, or too much.
func TestSettingsOfConsumersAreSetBack(t *testing.T) {
	t.Parallel()
	b := newBus(t, lasting(t, natstest.New(t)), bus.Options{})
	survey(t, b)
	consume(t, b, bus.Consumption{Slots: 1, Grace: time.Minute}, func(stop func(), d *bus.Delivery) error {
		if string(d.Body) == "last" {
			stop()
			return nil
		}
		js, durable := streams(t, b), wire.ItemsConsumer(wire.Bulk, "p", b.Timing()).Durable
		config := func() jetstream.ConsumerConfig {
			consumer, err := js.Consumer(t.Context(), wire.StreamItems, durable)
			if err != nil {
				t.Fatal(err)
			}
			return consumer.CachedInfo().Config
		}
		wanted := config()
		for name, edit := range map[string]func(c *jetstream.ConsumerConfig){
			"few tries":       func(c *jetstream.ConsumerConfig) { c.MaxDeliver = 2 },
			"other messages":  func(c *jetstream.ConsumerConfig) { c.FilterSubject = "tributary.items.nothing" },
			"one at a time":   func(c *jetstream.ConsumerConfig) { c.MaxAckPending = 1 },
			"a short wait":    func(c *jetstream.ConsumerConfig) { c.AckWait = time.Millisecond },
			"without a body":  func(c *jetstream.ConsumerConfig) { c.HeadersOnly = true },
			"small requests":  func(c *jetstream.ConsumerConfig) { c.MaxRequestBatch = 1 },
			"gone when quiet": func(c *jetstream.ConsumerConfig) { c.InactiveThreshold = time.Hour },
		} {
			edited := wanted
			edit(&edited)
			if _, err := js.UpdateConsumer(t.Context(), wire.StreamItems, edited); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			b.Miss()
			eventually(t, func() bool { return cmp.Equal(wanted, config()) })
		}
		return b.Publish(t.Context(), message("last", "last"))
	}, first(b))
}

// TestPausedConsumersAreToldOf: whoever pauses one means it, and is reminded of it.
func TestPausedConsumersAreToldOf(t *testing.T) {
	t.Parallel()
	b := newBus(t, lasting(t, natstest.New(t)), bus.Options{})
	survey(t, b)
	durable := wire.ItemsConsumer(wire.Bulk, "p", b.Timing()).Durable
	consume(t, b, bus.Consumption{Slots: 1, Grace: time.Minute}, func(stop func(), d *bus.Delivery) error {
		if string(d.Body) == "last" {
			stop()
			return nil
		}
		if _, err := streams(t, b).PauseConsumer(t.Context(), wire.StreamItems, durable,
			time.Now().Add(time.Hour)); err != nil {
			t.Error(err)
		}
		return b.Publish(t.Context(), message("last", "last"))
	}, first(b), func() {
		want := "to go on, run: nats consumer resume " + wire.StreamItems + " " + durable
		eventually(t, func() bool { err := b.Moving(quick); return err != nil && strings.Contains(err.Error(), want) })
		if _, err := streams(t, b).ResumeConsumer(t.Context(), wire.StreamItems, durable); err != nil {
			t.Error(err)
		}
	})
}
