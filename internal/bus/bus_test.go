package bus_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/leak"
	"github.com/tributaryhq/tributary/internal/wire"
)

func TestMain(m *testing.M) { leak.Main(m) }

// newBus is a bus with everything applied, and quiet.
func newBus(t testing.TB, nc *nats.Conn, opts bus.Options) *bus.Bus {
	t.Helper()
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	b, err := bus.New(nc, opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

func stream(t testing.TB, b *bus.Bus, name string) *jetstream.StreamInfo {
	t.Helper()
	js, err := jetstream.New(b.Conn())
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	info, err := s.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return info
}

var address = wire.ItemAddress{Lane: wire.Bulk, Provider: "p", Integration: "i", Run: "r", Attempt: 1}

func message(id, body string) wire.Message {
	return wire.Message{Subject: wire.ItemsSubject(address), ID: id, Body: []byte(body)}
}

func publish(t *testing.T, b *bus.Bus, n int) {
	t.Helper()
	for i := range n {
		if err := b.Publish(t.Context(), message(fmt.Sprint(i), fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
}

func waiting(t *testing.T, b *bus.Bus) uint64 {
	t.Helper()
	return stream(t, b, wire.StreamItems).State.Msgs
}

func TestApplyAgainAndAtOnce(t *testing.T) {
	server := natstest.New(t)
	var group errgroup.Group
	for range 4 {
		nc := server.Connect()
		group.Go(func() error {
			b, err := bus.New(nc, bus.Options{})
			if err != nil {
				return err
			}
			if err := b.Apply(t.Context()); err != nil {
				return err
			}
			return b.Apply(t.Context())
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	b := newBus(t, server.Connect(), bus.Options{})
	for _, config := range wire.Streams(1) {
		stream(t, b, config.Name)
	}
	for _, config := range wire.Buckets(1, b.Timing()) {
		bucket, err := b.Bucket(t.Context(), config.Bucket)
		if err != nil {
			t.Fatal(err)
		}
		status, err := bucket.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if status.TTL() != config.TTL || status.History() != 1 {
			t.Errorf("bucket %s keeps %d values for %s, want 1 for %s", config.Bucket, status.History(), status.TTL(),
				config.TTL)
		}
		if !stream(t, b, "KV_"+config.Bucket).Config.AllowDirect {
			t.Errorf("bucket %s has one copy and is read in the slow way", config.Bucket)
		}
	}
	for _, config := range wire.Buckets(3, b.Timing()) {
		if bus.BucketStream(config).AllowDirect {
			t.Errorf("bucket %s may be read from a replica that lags behind", config.Bucket)
		}
	}
}

func TestBucketKeepsOneValueAndItsRevision(t *testing.T) {
	b := newBus(t, natstest.New(t).Connect(), bus.Options{})
	bucket, err := b.Bucket(t.Context(), wire.BucketCheckpoints)
	if err != nil {
		t.Fatal(err)
	}
	first, err := bucket.Create(t.Context(), "r.1.0", []byte("one"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bucket.Create(t.Context(), "r.1.0", []byte("other")); !errors.Is(err, jetstream.ErrKeyExists) {
		t.Errorf("a second create gives %v, want %v", err, jetstream.ErrKeyExists)
	}
	if _, err := bucket.Update(t.Context(), "r.1.0", []byte("two"), first); err != nil {
		t.Fatal(err)
	}
	if _, err := bucket.Update(t.Context(), "r.1.0", []byte("late"), first); err == nil {
		t.Error("an update of an old revision is accepted")
	}
	value, err := bucket.Get(t.Context(), "r.1.0")
	if err != nil || string(value.Value()) != "two" {
		t.Errorf("the bucket holds %v, %v", value, err)
	}
}

func TestPurgeAndHolds(t *testing.T) {
	b := newBus(t, natstest.New(t).Connect(), bus.Options{})
	now := time.Now()
	tenth := address
	tenth.Attempt = 10
	for _, a := range []wire.ItemAddress{address, tenth} {
		if err := b.Publish(t.Context(), wire.Message{Subject: wire.ItemsSubject(a)}); err != nil {
			t.Fatal(err)
		}
		if err := b.PublishAt(t.Context(), wire.Message{Subject: wire.RetrySubject(a)}, wire.ItemsSubject(a),
			now.Add(hour)); err != nil {
			t.Fatal(err)
		}
	}
	holds := func(want bool, filters ...string) {
		t.Helper()
		got, err := b.Holds(t.Context(), wire.StreamItems, filters...)
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("the stream holds something under %v: %t, want %t", filters, got, want)
		}
	}
	first, all, retries := wire.RunFilters("p", "i", "r", 1), wire.RunFilters("p", "i", "r", 0),
		wire.RunFilters("p", "i", "r", 10)[1]
	holds(true, first...)
	holds(true, retries)
	holds(false, wire.RunFilters("p", "i", "other", 0)...)
	holds(false)
	if err := b.Purge(t.Context(), wire.StreamItems, first...); err != nil {
		t.Fatal(err)
	}
	holds(false, first...)
	holds(true, all...)
	holds(true, retries)
	if err := b.Purge(t.Context(), wire.StreamItems, all...); err != nil {
		t.Fatal(err)
	}
	holds(false, all...)
	if _, err := b.Holds(t.Context(), "NO_STREAM", "x"); err == nil {
		t.Error("asking a stream that there is not gives no error")
	}
}

// A delayed message moves to its target when it is due, and is found all the time.
func TestHoldsWhatMoves(t *testing.T) {
	b := newBus(t, natstest.New(t).Connect(), bus.Options{})
	filters := wire.RunFilters("p", "i", "r", 1)
	for n := range 10 {
		m := wire.Message{ID: fmt.Sprint(n), Subject: wire.RetrySubject(address)}
		if err := b.PublishAt(t.Context(), m, wire.ItemsSubject(address), time.Now()); err != nil {
			t.Fatal(err)
		}
		for moved := false; !moved; {
			held, err := b.Holds(t.Context(), wire.StreamItems, filters...)
			if err != nil || !held {
				t.Fatalf("message %d is held: %t, %v", n, held, err)
			}
			if moved, err = b.Holds(t.Context(), wire.StreamItems, filters[0]); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Purge(t.Context(), wire.StreamItems, filters...); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPurgeKeys(t *testing.T) {
	b := newBus(t, natstest.New(t).Connect(), bus.Options{})
	bucket, err := b.Bucket(t.Context(), wire.BucketCheckpoints)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"r.1.0", "r.1.total", "r.10.0", "r2.1.0"} {
		if _, err := bucket.PutString(t.Context(), key, "x"); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.PurgeKeys(t.Context(), wire.BucketCheckpoints, "r.1"); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]bool{"r.1.0": false, "r.1.total": false, "r.10.0": true, "r2.1.0": true} {
		_, err := bucket.Get(t.Context(), key)
		if err != nil && !errors.Is(err, jetstream.ErrKeyNotFound) {
			t.Fatal(err)
		}
		if got := err == nil; got != want {
			t.Errorf("key %s is there: %t, want %t", key, got, want)
		}
	}
}

func TestReady(t *testing.T) {
	server := natstest.New(t)
	b := newBus(t, lasting(t, server), bus.Options{})
	if err := b.Ready(); err != nil {
		t.Errorf("not ready on a live connection: %v", err)
	}
	server.Stop()
	eventually(t, func() bool { return b.Ready() != nil })
	server.Start()
	eventually(t, func() bool { return b.Ready() == nil })
}

func TestDialWaitsForTheServer(t *testing.T) {
	server := natstest.NewListening(t)
	url := server.URL()
	server.Stop()
	waiting := make(chan struct{})
	var group errgroup.Group
	group.Go(func() error {
		nc, err := bus.Dial(t.Context(), url, slog.New(onRecord(func() { close(waiting) })))
		if err == nil {
			nc.Close()
		}
		return err
	})
	<-waiting
	server.Start()
	if err := group.Wait(); err != nil {
		t.Errorf("dial gave up: %v", err)
	}
}

func TestDialGivesUp(t *testing.T) {
	server := natstest.NewListening(t)
	url := server.URL()
	server.Stop()
	ctx, cancel := context.WithCancel(t.Context())
	_, err := bus.Dial(ctx, url, slog.New(onRecord(cancel)))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("dial gives %v, want %v", err, context.Canceled)
	}
}
