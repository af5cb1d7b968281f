package bus_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/embedded/cable"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/watchdog"
	"github.com/tributaryhq/tributary/internal/wire"
)

// A server that neither answers nor ends the connection is left within half a minute.
func TestSilentServerIsLeftInTime(t *testing.T) {
	nc, err := bus.Dial(t.Context(), natstest.NewListening(t).URL(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if after := nc.Opts.PingInterval * time.Duration(nc.Opts.MaxPingsOut+1); after > 30*time.Second {
		t.Errorf("a silent server is left after %s", after)
	}
	if nc.Opts.FlusherTimeout > 30*time.Second || !nc.Opts.ReconnectOnFlusherError {
		t.Errorf("a server that takes nothing is left after %s: %t", nc.Opts.FlusherTimeout, nc.Opts.ReconnectOnFlusherError)
	}
}

// The connection freezes, and new ones too for a while. The bus says that nothing is stored, and goes on.
func TestFrozenConnection(t *testing.T) {
	line := cable.New(t, natstest.NewListening(t).URL())
	nc, err := bus.Dial(t.Context(), line.URL, slog.New(slog.DiscardHandler),
		nats.PingInterval(200*time.Millisecond), nats.Timeout(500*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	b := newBus(t, nc, bus.Options{})
	line.FreezeAll()
	eventually(t, func() bool { return b.Storing(t.Context()) != nil })
	published := make(chan error, 1)
	go func() { published <- b.Publish(t.Context(), message("frozen", "body")) }()
	eventually(t, func() bool { return nc.Status() == nats.RECONNECTING })
	line.Mend()
	if err := <-published; err != nil {
		t.Error(err)
	}
	eventually(t, func() bool { return b.Storing(t.Context()) == nil })
	if held, err := b.Holds(t.Context(), wire.StreamItems, wire.ItemsSubject(address)); err != nil || !held {
		t.Errorf("the message that was published meanwhile is stored: %t, %v", held, err)
	}
}

// The watchdog sees that a step gets on by each message that the broker has stored.
func TestAnswersShowOnTheBoard(t *testing.T) {
	t.Parallel()
	b := newBus(t, natstest.New(t).Connect(), bus.Options{})
	cells, err := b.Cells(t.Context(), wire.BucketLimits)
	if err != nil {
		t.Fatal(err)
	}
	board := &watchdog.Board{}
	_ = watchdog.Step(watchdog.WithBoard(t.Context(), board), "look", func(ctx context.Context) error {
		for what, call := range map[string]func() error{
			"a publication": func() error { return b.Publish(ctx, message("alive", "body")) },
			"a purge":       func() error { return b.Purge(ctx, wire.StreamSync, "tributary.sync.none") },
			"a write":       func() error { _, _, err := cells.Write(ctx, "k", []byte("v"), 0); return err },
			"a read":        func() error { _, _, err := cells.Read(ctx, "k"); return err },
		} {
			before := time.Now()
			if err := call(); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			if err := board.Moving(time.Since(before), time.Hour); err != nil {
				t.Errorf("%s does not show: %v", what, err)
			}
		}
		return nil
	})
}
