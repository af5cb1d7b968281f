package directory_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/directory"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/secret"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// newBucket returns a bucket that says that it is complete.
func newBucket(t *testing.T) (*bus.Bus, *directory.Writer) {
	t.Helper()
	b, err := bus.New(natstest.New(t).Connect(), bus.Options{Log: slog.New(slog.DiscardHandler)})
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
	return b, writer
}

func put(t *testing.T, writer *directory.Writer, entry *eventsv1.DirectoryEntry) {
	t.Helper()
	read := func(context.Context) (*eventsv1.DirectoryEntry, error) { return entry, nil }
	err := writer.Put(t.Context(), entry.GetIntegrationId(), read)
	if err != nil {
		t.Fatal(err)
	}
}

// follow returns a directory that is ready.
func follow(t *testing.T, b *bus.Bus, ring *secret.Ring) *directory.Directory {
	t.Helper()
	d := directory.New(b, ring, slog.New(slog.DiscardHandler))
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = d.Run(ctx)
	}()
	t.Cleanup(func() {
		stop()
		<-ended
	})
	for deadline := time.Now().Add(time.Minute); d.Ready() != nil; {
		if time.Now().After(deadline) {
			t.Fatal("the directory is never ready")
		}
	}
	return d
}

// TestReadyOnceAllIsRead has a bucket that says that it is complete before most of its entries were last changed. Once
// the directory is ready, it knows all of them.
func TestReadyOnceAllIsRead(t *testing.T) {
	t.Parallel()
	b, writer := newBucket(t)
	const entries = 2000
	for n := range entries {
		id := fmt.Sprint("id", n)
		put(t, writer, &eventsv1.DirectoryEntry{IntegrationId: id, Provider: "shop", Name: id, Status: "active"})
	}
	if n := len(follow(t, b, nil).Of("shop")); n != entries {
		t.Errorf("it is ready and knows %d of %d integrations", n, entries)
	}
}

// TestCredentialsOfAnotherVersion has older credentials under a newer version: no webhook is verified with them.
func TestCredentialsOfAnotherVersion(t *testing.T) {
	t.Parallel()
	b, writer := newBucket(t)
	ring, err := secret.LoadOrCreate(filepath.Join(t.TempDir(), "keys"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for name, version := range map[string]int64{"older": 1, "current": 2} {
		id := uuid.New()
		keyID, sealed, err := ring.Seal([]byte(`{"key":"k"}`), secret.Place{Row: id[:], Version: version})
		if err != nil {
			t.Fatal(err)
		}
		put(t, writer, &eventsv1.DirectoryEntry{
			IntegrationId: id.String(), Provider: "shop", Name: name, Status: "active",
			KeyId: keyID, Sealed: sealed, CredentialsVersion: 2,
		})
	}
	d := follow(t, b, ring)
	if got, err := d.Find("current").Credentials(); d.Find("current").Problem != nil || got["key"] != "k" {
		t.Errorf("current: %v, %v, %v", got, err, d.Find("current").Problem)
	}
	if got, _ := d.Find("older").Credentials(); !errors.Is(d.Find("older").Problem, secret.ErrOpen) || len(got) != 0 {
		t.Errorf("older: %v, %v", got, d.Find("older").Problem)
	}
}
