package bus_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/wire"
)

const violation = "-ERR 'Maximum Payload Violation'\r\n"

// dials connects as services do: over the network, with TLS, and without a socket.
func dials(t *testing.T, each func(t *testing.T, server *natstest.Server, dial func(logged *bytes.Buffer) *nats.Conn)) {
	t.Helper()
	for name, start := range map[string]func(testing.TB) (*natstest.Server, []nats.Option){
		"network": func(t testing.TB) (*natstest.Server, []nats.Option) {
			t.Helper()
			return natstest.NewListening(t), nil
		},
		"TLS": func(t testing.TB) (*natstest.Server, []nats.Option) {
			t.Helper()
			server, roots := natstest.NewTLS(t)
			return server, []nats.Option{nats.Secure(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12})}
		},
		"in process": func(t testing.TB) (*natstest.Server, []nats.Option) {
			t.Helper()
			server := natstest.NewListening(t)
			return server, []nats.Option{nats.InProcessServer(server)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, opts := start(t)
			each(t, server, func(logged *bytes.Buffer) *nats.Conn {
				nc, err := bus.Dial(t.Context(), server.URL(), slog.New(slog.NewTextHandler(logged, nil)), opts...)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(nc.Close)
				return nc
			})
		})
	}
}

// TestLimitIsLowered lowers the size of a message while a service is connected: the message that is too large now is
// refused, and the service goes on with smaller ones.
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
			return b.Publish(t.Context(), wire.Message{
				Subject: "tributary.events.run-started.shop.x", ID: id,
				Body: make([]byte, size),
			})
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
		for _, body := range []string{
			violation, "-ERR ", "-ERR 'Maximum", strings.Repeat("-ERR ", 10_000),
			violation + "-", "a" + strings.TrimSuffix(violation, "\r\n"),
		} {
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
