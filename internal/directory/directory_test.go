package directory_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/directory"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/secret"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// TestReadyOnceAllIsRead has a bucket that says that it is complete before most of its entries were last changed. Once the directory is ready, it knows all of them.
func TestReadyOnceAllIsRead(t *testing.T) {
	t.Parallel()
	log := slog.New(slog.DiscardHandler)
	b, err := bus.New(natstest.New(t).Connect(), bus.Options{Log: log})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	writer, err := directory.NewWriter(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	if err := writer.Complete(t.Context()); err != nil {
		t.Fatal(err)
	}
	const entries = 2000
	for n := range entries {
		id := fmt.Sprint("id", n)
		err := writer.Put(t.Context(), id, func(context.Context) (*eventsv1.DirectoryEntry, error) {
			return &eventsv1.DirectoryEntry{IntegrationId: id, Provider: "shop", Name: id, Status: "active"}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	ring, err := secret.LoadOrCreate(filepath.Join(t.TempDir(), "keys"))
	if err != nil {
		t.Fatal(err)
	}
	d := directory.New(b, ring, log)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = d.Run(ctx)
	}()
	defer func() {
		stop()
		<-ended
	}()
	for deadline := time.Now().Add(time.Minute); d.Ready() != nil; {
		if time.Now().After(deadline) {
			t.Fatal("the directory is never ready")
		}
	}
	if n := len(d.Of("shop")); n != entries {
		t.Errorf("it is ready and knows %d of %d integrations", n, entries)
	}
}
