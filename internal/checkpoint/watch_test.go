package checkpoint_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/wire"
)

// watched is a watch in the background.
type watched struct {
	updates  chan string
	caughtUp chan struct{}
	stop     func()
}

func watch(t *testing.T, s *checkpoint.Store, run string, attempt int32) *watched {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &watched{updates: make(chan string, 1000), caughtUp: make(chan struct{}, 100)}
	var ended sync.WaitGroup
	ended.Go(func() {
		err := s.Watch(ctx, run, attempt, func(u checkpoint.Update) { w.updates <- name(u) }, func() { w.caughtUp <- struct{}{} })
		if err != nil {
			t.Errorf("watch: %v", err)
		}
	})
	w.stop = func() { cancel(); ended.Wait() }
	t.Cleanup(w.stop)
	return w
}

func (w *watched) until(t *testing.T, want string) {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		select {
		case got := <-w.updates:
			if got == want {
				return
			}
		case <-deadline:
			t.Fatalf("%s was never told", want)
		}
	}
}

func TestWatch(t *testing.T) {
	s, _ := open(t, natstest.New(t))
	fill(t, s, "r", 1)
	one, every := watch(t, s, "r", 1), watch(t, s, "", 0)
	for _, w := range []*watched{one, every} {
		<-w.caughtUp
		if len(w.updates) != 4 {
			t.Errorf("caught up with %d updates told, want 4", len(w.updates))
		}
	}
	fill(t, s, "other", 1)
	fill(t, s, "r", 2)
	if _, err := s.Merge(t.Context(), key("r", 1, 7), entry(1)); err != nil {
		t.Fatal(err)
	}
	one.until(t, "r.1.7")
	every.until(t, "other.1.1")
	every.until(t, "r.2.1")
	every.until(t, "r.1.7")
	one.stop()
	for len(one.updates) > 0 {
		if got := <-one.updates; got != "total" && got[:4] != "r.1." {
			t.Errorf("a watch of one attempt tells %s", got)
		}
	}
}

func TestWatchPassesOverWhatItCanNotRead(t *testing.T) {
	s, b := open(t, natstest.New(t))
	bucket, err := b.Bucket(t.Context(), wire.BucketCheckpoints)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"odd", "r.1.x", "r.1.5"} {
		if _, err := bucket.Put(t.Context(), k, []byte{0xff}); err != nil {
			t.Fatal(err)
		}
	}
	fill(t, s, "r", 1)
	w := watch(t, s, "", 0)
	w.until(t, "r.1.1")
	equal(t, map[string]bool{"r.1.0": true, "r.1.1": true, "r.1.0.3": true, "total": true}, all(t, s, "r", 1))
}

func TestWatchGoesOn(t *testing.T) {
	tests := []struct {
		name      string
		interrupt func(*testing.T, *natstest.Server, *bus.Bus)
	}{
		{"after a restart", func(_ *testing.T, server *natstest.Server, _ *bus.Bus) { server.Restart() }},
		{"after a loss of the bucket", func(t *testing.T, server *natstest.Server, b *bus.Bus) {
			t.Helper()
			js, err := jetstream.New(b.Conn())
			if err != nil {
				t.Fatal(err)
			}
			if err := js.DeleteKeyValue(t.Context(), wire.BucketCheckpoints); err != nil {
				t.Fatal(err)
			}
			server.Restart()
			if err := b.Apply(t.Context()); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			natstest.Bubble(t, func(t *testing.T) {
				server := natstest.New(t)
				s, b := open(t, server)
				fill(t, s, "r", 1, 2, 3)
				w := watch(t, s, "", 0)
				<-w.caughtUp
				tt.interrupt(t, server, b)
				start := time.Now()
				if _, err := s.Merge(t.Context(), key("r", 4, 9), entry(1)); err != nil {
					t.Fatal(err)
				}
				w.until(t, "r.4.9")
				if took := time.Since(start); took > 5*time.Second {
					t.Errorf("it took %s to go on", took)
				}
				w.stop()
			})
		})
	}
}

// A watch that ends while the client has more to tell must leave nothing behind; TestMain looks.
func TestReadAllThatIsCutShort(t *testing.T) {
	s, b := open(t, natstest.New(t))
	bucket, err := b.Bucket(t.Context(), wire.BucketCheckpoints)
	if err != nil {
		t.Fatal(err)
	}
	for batch := range int32(1000) {
		if _, err := bucket.Put(t.Context(), key("r", 1, batch).String(), nil); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = s.ReadAll(ctx, "r", 1, func(checkpoint.Update) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("read gives %v, want %v", err, context.Canceled)
	}
}
