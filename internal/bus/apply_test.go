package bus_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/wire"
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
	other, err := bus.New(nc, bus.Options{Timing: wire.Timing{AckWait: 3e9, WorkerLease: 3e9}})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Advisories come in order: one of the second round would come first.
	if subject := (<-updates).Subject; subject != "$JS.EVENT.ADVISORY.STREAM.UPDATED.KV_"+wire.BucketWorkers {
		t.Errorf("%s was updated, want the one bucket whose setting has changed", subject)
	}
}

// TestMoreRoomThanThereIs asks for a stream that NATS has no room for: the line says so, and what to do.
func TestMoreRoomThanThereIs(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var lines strings.Builder
	log := slog.New(slog.NewTextHandler(&lines, nil))
	b, err := bus.New(natstest.New(t).Connect(), bus.Options{WebhookBacklog: 1 << 50, Log: slog.New(heard{log.Handler(), stop})})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Apply(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("applied with %v", err)
	}
	if !strings.Contains(lines.String(), "less room than --webhook-backlog asks for") {
		t.Errorf("the log has %q", lines.String())
	}
}

// heard calls a function after each line.
type heard struct {
	slog.Handler
	then func()
}

func (h heard) Handle(ctx context.Context, r slog.Record) error {
	defer h.then()
	return h.Handler.Handle(ctx, r)
}
