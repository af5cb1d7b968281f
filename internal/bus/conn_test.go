package bus_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// TestConnectionsOfOthers checks connections that a program has made: with the options, with options of its own among
// them, and without what a bus needs.
func TestConnectionsOfOthers(t *testing.T) {
	t.Parallel()
	server := natstest.NewListening(t)
	connect := func(opts ...nats.Option) *nats.Conn {
		t.Helper()
		nc, err := nats.Connect(server.URL(), opts...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}
	log := slog.New(slog.DiscardHandler)
	for _, nc := range []*nats.Conn{
		connect(bus.ConnOptions(log)...),
		connect(bus.ConnOptions(log, nats.Name("shop"), nats.PingInterval(5*time.Second))...),
		server.Connect(bus.ConnOptions(log)...),
	} {
		if err := bus.CheckConn(nc); err != nil {
			t.Errorf("%s: %v", nc.Opts.Name, err)
		}
	}
	for want, own := range map[string]nats.Option{
		"nats.MaxReconnects(-1)":    nats.MaxReconnects(60),
		"nats.ReconnectBufSize(-1)": nats.ReconnectBufSize(1 << 20),
		"nats.PingInterval":         nats.PingInterval(time.Minute),
		"no nats.NoEcho()":          nats.NoEcho(),
		"nats.ReconnectOnFlusher":   nats.FlusherTimeout(time.Hour),
	} {
		if err := bus.CheckConn(connect(bus.ConnOptions(log, own)...)); err == nil ||
			!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), ", ") {
			t.Errorf("with another option: %v, want %s alone", err, want)
		}
	}
	if err := bus.CheckConn(connect()); err == nil || !strings.Contains(err.Error(), "max_payload") {
		t.Errorf("without any option: %v", err)
	}
	closed := connect(bus.ConnOptions(log)...)
	closed.Close()
	if err := bus.CheckConn(closed); err == nil || !strings.Contains(err.Error(), "is closed") {
		t.Errorf("a closed connection: %v", err)
	}
}

// TestCloseLeavesTheConnection closes a bus that has offered a message: the connection is as before, and stays open.
func TestCloseLeavesTheConnection(t *testing.T) {
	t.Parallel()
	nc := natstest.New(t).Connect()
	b := newBus(t, nc, bus.Options{})
	before := nc.NumSubscriptions()
	m, err := wire.NewEvent(events.CursorMoved, "shop", "one", "", &eventsv1.CursorMoved{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Offer(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if nc.NumSubscriptions() == before {
		t.Fatal("an offer subscribes to nothing; then there is nothing to close")
	}
	b.Close()
	if got := nc.NumSubscriptions(); got != before || nc.IsClosed() {
		t.Errorf("the connection has %d subscriptions, want %d; closed: %t", got, before, nc.IsClosed())
	}
}
