package bus_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/errgroup"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/wire"
)

func TestPublishDropsARepeatedID(t *testing.T) {
	b := newBus(t, natstest.New(t).Connect(), bus.Options{})
	for _, m := range []wire.Message{
		message("a", "1"), message("a", "1"), message("b", "2"), message("", "3"),
		message("", "3"),
	} {
		if err := b.Publish(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	if got := stream(t, b, wire.StreamItems).State.Msgs; got != 4 {
		t.Errorf("the stream has %d messages, want 4", got)
	}
}

func TestPublishOutlastsARestart(t *testing.T) {
	server := natstest.New(t)
	b := newBus(t, server.Connect(nats.ReconnectWait(quick), nats.MaxReconnects(-1), quiet()), bus.Options{})
	server.Stop()
	const messages = 20
	var group errgroup.Group
	for i := range messages {
		group.Go(func() error { return b.Publish(t.Context(), message(fmt.Sprint(i), "x")) })
	}
	eventually(t, func() bool { return b.Ready() != nil })
	server.Start()
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := stream(t, b, wire.StreamItems).State.Msgs; got != messages {
		t.Errorf("the stream has %d messages, want %d", got, messages)
	}
}

func TestPublishOutlastsTheLossOfItsStream(t *testing.T) {
	b := newBus(t, natstest.New(t).Connect(), bus.Options{})
	js, err := jetstream.New(b.Conn())
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(t.Context(), wire.StreamItems); err != nil {
		t.Fatal(err)
	}
	var group errgroup.Group
	for i := range 8 {
		group.Go(func() error { return b.Publish(t.Context(), message(fmt.Sprint(i), "x")) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := stream(t, b, wire.StreamItems).State.Msgs; got != 8 {
		t.Errorf("the stream has %d messages, want 8", got)
	}
}

func TestPublishGivesUpWithItsContext(t *testing.T) {
	server := natstest.New(t)
	b := newBus(t, server.Connect(quiet()), bus.Options{})
	server.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), quick)
	defer cancel()
	if err := b.Publish(ctx, message("a", "x")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("publish gives %v, want %v", err, context.DeadlineExceeded)
	}
}

func TestPublishSize(t *testing.T) {
	b := newBus(t, natstest.New(t).Connect(), bus.Options{})
	m := message("a", "")
	m.Body = make([]byte, b.MaxBody())
	if err := b.Publish(t.Context(), m); err != nil {
		t.Errorf("a body of the largest size is refused: %v", err)
	}
	m.Body = make([]byte, b.Conn().MaxPayload()+1)
	if err := b.Publish(t.Context(), m); !errors.Is(err, bus.ErrTooLarge) {
		t.Errorf("publish gives %v, want %v", err, bus.ErrTooLarge)
	}
	if err := b.PublishAt(t.Context(), m, m.Subject, time.Now()); !errors.Is(err, bus.ErrTooLarge) {
		t.Errorf("publish at gives %v, want %v", err, bus.ErrTooLarge)
	}
}

func TestPublishRefusedForGood(t *testing.T) {
	nc := natstest.New(t).Connect()
	b := newBus(t, nc, bus.Options{})
	if err := b.Publish(t.Context(), wire.Message{Subject: "bad subject"}); err == nil {
		t.Error("a subject with a space is accepted")
	}
	if err := b.PublishAt(t.Context(), message("a", ""), "elsewhere", time.Now()); err == nil {
		t.Error("a schedule for another stream is accepted")
	}
	nc.Close()
	if err := b.Publish(t.Context(), message("a", "")); !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("publish on a closed connection gives %v, want %v", err, nats.ErrConnectionClosed)
	}
}

// delayed is a message that waits under its own subject for the target.
func delayed(id, body string) (m wire.Message, target string) {
	return wire.Message{
		Subject: wire.RetrySubject(address), ID: id, Body: []byte(body),
		Header: map[string]string{"Kept": "yes"},
	}, wire.ItemsSubject(address)
}

// arrivals consumes until n messages were there, and says which came after how long.
func arrivals(t *testing.T, b *bus.Bus, start time.Time, n int) (got []string) {
	t.Helper()
	consume(t, b, bus.Consumption{Slots: 1}, func(stop func(), d *bus.Delivery) error {
		got = append(got, fmt.Sprintf("%s after %s", d.Body, time.Since(start).Round(time.Second)))
		if len(got) == n {
			stop()
		}
		if d.Header.Get("Kept") != "yes" {
			t.Error("a delayed message lost its header")
		}
		return nil
	})
	return got
}

func TestPublishAt(t *testing.T) {
	tests := []struct {
		name    string
		publish func(publish func(id, body string, in time.Duration))
		want    []string
	}{
		{"later", func(at func(string, string, time.Duration)) {
			at("a", "one", 20*time.Minute)
		}, []string{"one after 20m0s"}},
		{"in the past, at once", func(at func(string, string, time.Duration)) {
			at("a", "one", -time.Hour)
		}, []string{"one after 0s"}},
		{"a second one replaces the first", func(at func(string, string, time.Duration)) {
			at("a", "one", 5*time.Minute)
			at("b", "two", 10*time.Minute)
		}, []string{"two after 10m0s"}},
		{"the same id again changes nothing", func(at func(string, string, time.Duration)) {
			at("a", "one", 5*time.Minute)
			at("a", "two", time.Minute)
		}, []string{"one after 5m0s"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			natstest.Bubble(t, func(t *testing.T) {
				b := newBus(t, natstest.New(t).Connect(), bus.Options{})
				start := time.Now()
				tt.publish(func(id, body string, in time.Duration) {
					m, target := delayed(id, body)
					if err := b.PublishAt(t.Context(), m, target, start.Add(in)); err != nil {
						t.Fatal(err)
					}
				})
				diff(t, tt.want, arrivals(t, b, start, len(tt.want)))
				synctest.Wait()
				if left := stream(t, b, wire.StreamItems).State.Msgs; left != 0 {
					t.Errorf("%d messages are left", left)
				}
			})
		})
	}
}

func TestPublishAtOutlastsARestart(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		server := natstest.New(t)
		b := newBus(t, server.Connect(quiet()), bus.Options{})
		start := time.Now()
		m, target := delayed("a", "one")
		if err := b.PublishAt(t.Context(), m, target, start.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		server.Restart()
		diff(t, []string{"one after 1h0m0s"}, arrivals(t, b, start, 1))
	})
}

func TestTraceTravels(t *testing.T) {
	b := newBus(t, natstest.New(t).Connect(), bus.Options{})
	parent := trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2},
		TraceFlags: trace.FlagsSampled,
	})
	if err := b.Publish(trace.ContextWithRemoteSpanContext(t.Context(), parent), message("a", "x")); err != nil {
		t.Fatal(err)
	}
	stored := message("b", "x")
	stored.Header = map[string]string{"traceparent": "00-0a000000000000000000000000000000-0b00000000000000-01"}
	if err := b.Publish(trace.ContextWithRemoteSpanContext(t.Context(), parent), stored); err != nil {
		t.Fatal(err)
	}
	var got []string
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := b.Consume(ctx, bus.Consumption{
		Stream: wire.StreamItems, Consumer: wire.ItemsConsumer(wire.Bulk, "p", b.Timing()), Slots: 1,
		Handle: func(ctx context.Context, _ *bus.Delivery) error {
			span := trace.SpanContextFromContext(ctx)
			got = append(got, span.TraceID().String()+" "+span.SpanID().String())
			if len(got) == 2 {
				cancel()
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	diff(t, []string{parent.TraceID().String() + " " + parent.SpanID().String(), "0a000000000000000000000000000000 " +
		"0b00000000000000"}, got)
}
