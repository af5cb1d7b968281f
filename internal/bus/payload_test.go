package bus_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/pkg/events"
)

const violation = "-ERR 'Maximum Payload Violation'\r\n"

// dials connects as services do: over the network, and without a socket.
func dials(t *testing.T, each func(t *testing.T, server *natstest.Server, dial func(logged *bytes.Buffer) *nats.Conn)) {
	t.Helper()
	for name, opts := range map[string]func(*natstest.Server) []nats.Option{
		"network":    func(*natstest.Server) []nats.Option { return nil },
		"in process": func(s *natstest.Server) []nats.Option { return []nats.Option{nats.InProcessServer(s)} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := natstest.NewListening(t)
			each(t, server, func(logged *bytes.Buffer) *nats.Conn {
				nc, err := bus.Dial(t.Context(), server.URL(), slog.New(slog.NewTextHandler(logged, nil)), opts(server)...)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(nc.Close)
				return nc
			})
		})
	}
}

// TestLimitIsLowered lowers the size of a message while a service is connected: the message that is too large now is refused, and the service goes on with smaller ones.
func TestLimitIsLowered(t *testing.T) {
	t.Parallel()
	dials(t, func(t *testing.T, server *natstest.Server, dial func(*bytes.Buffer) *nats.Conn) {
		t.Helper()
		var logged bytes.Buffer
		nc := dial(&logged)
		b, err := bus.New(nc, bus.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Apply(t.Context()); err != nil {
			t.Fatal(err)
		}
		publish := func(id string, size int) error {
			return b.Publish(t.Context(), events.Message{Subject: "tributary.events.run-started.shop.x", ID: id, Body: make([]byte, size)})
		}
		if err := publish("before", 1<<20); err != nil {
			t.Fatal(err)
		}
		most := b.MaxBody()
		server.SetMaxPayload(64 << 10)
		if err := publish("large", 1<<20); !errors.Is(err, bus.ErrTooLarge) {
			t.Errorf("a message that is too large now: %v", err)
		}
		if err := publish("small", 32<<10); err != nil {
			t.Errorf("a smaller message: %v", err)
		}
		if now := b.MaxBody(); now >= 64<<10 || now >= most || nc.IsClosed() {
			t.Errorf("bodies may have %d bytes, before %d; closed: %v", now, most, nc.IsClosed())
		}
		nc.Close()
		if !strings.Contains(logged.String(), "NATS accepts messages of another size now") {
			t.Errorf("not logged: %s", logged.String())
		}
	})
}

// TestMessagesThatLookLikeAViolation sends what ends, or may end, like the line that the connection holds back.
func TestMessagesThatLookLikeAViolation(t *testing.T) {
	t.Parallel()
	dials(t, func(t *testing.T, _ *natstest.Server, dial func(*bytes.Buffer) *nats.Conn) {
		t.Helper()
		var logged bytes.Buffer
		nc := dial(&logged)
		sub, err := nc.SubscribeSync("x")
		if err != nil {
			t.Fatal(err)
		}
		for _, body := range []string{violation, "-ERR ", "-ERR 'Maximum", strings.Repeat("-ERR ", 10_000), violation + "-", "a" + strings.TrimSuffix(violation, "\r\n")} {
			if err := nc.Publish("x", []byte(body)); err != nil {
				t.Fatal(err)
			}
			m, err := sub.NextMsgWithContext(context.WithoutCancel(t.Context()))
			if err != nil || string(m.Data) != body {
				t.Errorf("sent %d bytes, got %d, %v", len(body), len(m.Data), err)
			}
		}
	})
}
