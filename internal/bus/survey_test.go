package bus_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/wire"
)

// losses is what surveys have found.
type losses struct {
	mu  sync.Mutex
	all []bus.Loss
}

func (l *losses) of(store string) (kinds []bus.LossKind) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, loss := range l.all {
		if loss.Store == store {
			kinds = append(kinds, loss.Kind)
		}
	}
	return kinds
}

// survey surveys until the test ends.
func survey(t *testing.T, b *bus.Bus) *losses {
	t.Helper()
	found := &losses{}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = b.Survey(ctx, func(all []bus.Loss) {
			found.mu.Lock()
			defer found.mu.Unlock()
			found.all = append(found.all, all...)
		})
	}()
	t.Cleanup(func() { cancel(); <-ended })
	eventually(t, func() bool { return b.Surveyed() > 0 })
	return found
}

func lasting(t *testing.T, server *natstest.Server) *nats.Conn {
	t.Helper()
	return server.Connect(nats.ReconnectWait(quick), nats.MaxReconnects(-1), nats.ReconnectBufSize(-1), quiet())
}

// seen is the newest value of each key, by a watch that lasts as long as the test.
func seen(t *testing.T, b *bus.Bus, bucket string) func(key string) string {
	t.Helper()
	cells, err := b.Cells(t.Context(), bucket)
	if err != nil {
		t.Fatal(err)
	}
	var values sync.Map
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cells.Watch(ctx, ">", func(key string, value []byte, _ uint64) { values.Store(key, string(value)) })
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return func(key string) string {
		value, _ := values.Load(key)
		text, _ := value.(string)
		return text
	}
}

func put(t *testing.T, b *bus.Bus, key, value string) {
	t.Helper()
	eventually(t, func() bool {
		_, err := b.Conn().Request("$KV."+wire.BucketLimits+"."+key, []byte(value), 2*time.Second)
		return err == nil
	})
}

func streams(t *testing.T, b *bus.Bus) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(b.Conn())
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// A bucket that is deleted and made anew while everybody is connected is noticed, by a watch too.
func TestBucketIsMadeAnew(t *testing.T) {
	t.Parallel()
	b := newBus(t, lasting(t, natstest.New(t)), bus.Options{})
	found := survey(t, b)
	value := seen(t, b, wire.BucketLimits)
	for _, text := range []string{"1", "2", "3"} {
		put(t, b, "a.a", text)
	}
	eventually(t, func() bool { return value("a.a") == "3" })
	js := streams(t, b)
	config := stream(t, b, "KV_"+wire.BucketLimits).Config
	if err := js.DeleteStream(t.Context(), config.Name); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	put(t, b, "b.b", "new")
	eventually(t, func() bool { return value("b.b") == "new" && len(found.of(wire.BucketLimits)) > 0 })
	if got := found.of(wire.BucketLimits); len(got) != 1 || got[0] != bus.MadeAnew {
		t.Errorf("found %v, want that it was made anew, once", got)
	}
	if got := found.of(wire.BucketCircuits); len(got) != 0 {
		t.Errorf("another bucket is said to be %v", got)
	}
}

// Streams and buckets that are gone are made again though no call needs them.
func TestSurveyMakesWhatIsGone(t *testing.T) {
	t.Parallel()
	b := newBus(t, lasting(t, natstest.New(t)), bus.Options{})
	found := survey(t, b)
	js := streams(t, b)
	for _, name := range []string{wire.StreamWebhooks, "KV_" + wire.BucketCircuits} {
		if err := js.DeleteStream(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, func() bool {
		return len(found.of(wire.StreamWebhooks)) == 1 && len(found.of(wire.BucketCircuits)) == 1
	})
	if got := stream(t, b, wire.StreamWebhooks).Config.MaxBytes; got != wire.WebhookBacklog {
		t.Errorf("the stream was made with %d bytes, want %d", got, wire.WebhookBacklog)
	}
}

func TestConsumerIsMadeAgain(t *testing.T) {
	t.Parallel()
	var warned, deleted atomic.Bool
	log := slog.New(onRecord(func() { warned.Store(true) }))
	b := newBus(t, lasting(t, natstest.New(t)), bus.Options{Log: log})
	survey(t, b)
	consume(t, b, bus.Consumption{Slots: 1, Grace: time.Minute}, func(stop func(), d *bus.Delivery) error {
		if string(d.Body) == "0" && d.Count == 1 && !deleted.Swap(true) {
			js := streams(t, b)
			if err := js.DeleteConsumer(t.Context(), wire.StreamItems, wire.ItemsConsumer(wire.Bulk, "p", b.Timing()).
				Durable); err != nil {
				t.Error(err)
			}
			return b.Publish(t.Context(), message("next", "next"))
		}
		if string(d.Body) == "next" {
			stop()
		}
		return nil
	}, first(b))
	if !warned.Load() {
		t.Error("no line tells of the consumer")
	}
}

// The store of an earlier moment is put back while everybody lives on: that is told, and watches see what is written
// under the old sequences.
func TestServerGoesBack(t *testing.T) {
	t.Parallel()
	server := natstest.New(t)
	b := newBus(t, lasting(t, server), bus.Options{})
	found := survey(t, b)
	value := seen(t, b, wire.BucketLimits)
	put(t, b, "a.a", "before")
	eventually(t, func() bool { return value("a.a") == "before" })
	putBack := server.Snapshot()
	for _, text := range []string{"1", "2", "3", "4"} {
		put(t, b, "a.a", text)
	}
	eventually(t, func() bool { return value("a.a") == "4" })
	putBack()
	put(t, b, "b.b", "after")
	eventually(t, func() bool { return value("b.b") == "after" && value("a.a") == "before" })
	eventually(t, func() bool { return len(found.of(wire.BucketLimits)) > 0 })
	if got := found.of(wire.BucketLimits); len(got) != 1 || got[0] != bus.WentBack {
		t.Errorf("found %v, want that it went back, once", got)
	}
	if got := found.of(wire.StreamCommands); len(got) != 0 {
		t.Errorf("a stream that has not changed is said to be %v", got)
	}
}

// A server that merely restarts has lost nothing.
func TestRestartIsNoLoss(t *testing.T) {
	t.Parallel()
	server := natstest.New(t)
	b := newBus(t, lasting(t, server), bus.Options{})
	found := survey(t, b)
	for i := range 2 {
		publish(t, b, 5)
		put(t, b, "a.a", "x")
		surveys := b.Surveyed()
		server.Restart()
		eventually(t, func() bool { return b.Surveyed() > surveys+1 })
		if len(found.all) > 0 {
			t.Fatalf("after restart %d: %v", i+1, found.all)
		}
	}
}

// A message is in work when the server goes back, and another gets its place and another worker. What becomes of the
// first says nothing of the second, which is delivered again when its worker fails.
func TestLateAcknowledgement(t *testing.T) {
	t.Parallel()
	for name, result := range map[string]error{"done": nil, "handed back": bus.Again(time.Hour, "later")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := natstest.New(t)
			b, other := newBus(t, lasting(t, server), bus.Options{}), newBus(t, lasting(t, server), bus.Options{})
			// The consumer is in the snapshot.
			consume(t, b, bus.Consumption{Slots: 1}, func(stop func(), _ *bus.Delivery) error {
				stop()
				return nil
			}, first(b))
			putBack := server.Snapshot()
			var place uint64
			inWork, settled := make(chan struct{}), make(chan struct{})
			publish := func(text string) func() {
				return func() {
					eventually(t, func() bool { return other.Publish(t.Context(), message(text, text)) == nil })
				}
			}
			again := func() {
				deliveries := 0
				consume(t, other, bus.Consumption{Slots: 1, Grace: time.Minute},
					func(stop func(), d *bus.Delivery) error {
						if deliveries++; deliveries == 1 {
							if string(d.Body) != "other" || d.Sequence != place {
								t.Errorf("%s is delivered from place %d, the test needs other from %d", d.Body,
									d.Sequence,
									place)
							}
							close(inWork)
							<-settled
							time.AfterFunc(20*time.Second, stop)
							return bus.Again(0, "the worker fails")
						}
						stop()
						return nil
					}, publish("other"))
				if deliveries != 2 {
					t.Errorf("the other message was delivered %d times, want 2", deliveries)
				}
			}
			var group sync.WaitGroup
			consume(t, b, bus.Consumption{Slots: 1, Grace: time.Minute}, func(stop func(), d *bus.Delivery) error {
				stop()
				place = d.Sequence
				putBack()
				group.Go(again)
				<-inWork
				return result
			}, publish("held"))
			close(settled)
			group.Wait()
		})
	}
}

// A message that is still in work when its server merely restarts is acknowledged over the new connection.
func TestAcknowledgementOverARestart(t *testing.T) {
	t.Parallel()
	server := natstest.New(t)
	b := newBus(t, lasting(t, server), bus.Options{})
	consume(t, b, bus.Consumption{Slots: 1, Grace: time.Minute}, func(stop func(), _ *bus.Delivery) error {
		server.Restart()
		eventually(t, func() bool { return b.Conn().Stats().Reconnects > 0 && b.Ready() == nil })
		stop()
		return nil
	}, first(b))
	eventually(t, func() bool { return waiting(t, b) == 0 })
}

// A revision that was read before the server went back is not taken for the same number that was given out since.
func TestRevisionsAreForgotten(t *testing.T) {
	t.Parallel()
	server := natstest.New(t)
	b, other := newBus(t, lasting(t, server), bus.Options{}), newBus(t, lasting(t, server), bus.Options{})
	cells, err := b.Cells(t.Context(), wire.BucketLimits)
	if err != nil {
		t.Fatal(err)
	}
	putBack := server.Snapshot()
	eventually(t, func() bool { return b.Conn().Stats().Reconnects > 0 && b.Ready() == nil })
	held, ok, err := cells.Write(t.Context(), "k", []byte("mine"), 0)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	putBack()
	put(t, other, "k", "theirs")
	if got := stream(t, other, "KV_"+wire.BucketLimits).State.LastSeq; got != held&(1<<48-1) {
		t.Fatalf("the other value has revision %d, the test needs %d", got, held)
	}
	eventually(t, func() bool { return b.Conn().Stats().Reconnects > 1 && b.Ready() == nil })
	if _, ok, err := cells.Write(t.Context(), "k", []byte("mine again"), held); ok || err != nil {
		t.Errorf("a write over another's value gives %t, %v", ok, err)
	}
	value, revision, err := cells.Read(t.Context(), "k")
	if err != nil || string(value) != "theirs" || revision <= held {
		t.Fatalf("%q at %d, %v; want theirs, and more than %d", value, revision, err, held)
	}
	if _, ok, err := cells.Write(t.Context(), "k", []byte("joined"), revision); !ok || err != nil {
		t.Errorf("a write at the new revision gives %t, %v", ok, err)
	}
}

// first publishes the message that a test begins with.
func first(b *bus.Bus) func() {
	return func() { _ = b.Publish(context.Background(), message("0", "0")) }
}

func TestMoving(t *testing.T) {
	t.Parallel()
	b := newBus(t, lasting(t, natstest.New(t)), bus.Options{})
	survey(t, b)
	hold, release := make(chan struct{}), make(chan struct{})
	held := &atomic.Bool{}
	consume(t, b, bus.Consumption{Slots: 1, Hold: func(context.Context) error {
		if held.Load() {
			return context.DeadlineExceeded
		}
		return nil
	}}, func(stop func(), d *bus.Delivery) error {
		switch string(d.Body) {
		case "0":
			held.Store(true)
			close(hold)
		case "1":
			stop()
		}
		return nil
	}, first(b), func() {
		<-hold
		if err := b.Moving(quick); err != nil {
			t.Errorf("nothing waits, and it is said that %v", err)
		}
		_ = b.Publish(context.Background(), message("1", "1"))
		go func() { defer close(release); waitStalled(b); held.Store(false) }()
	})
	<-release
	eventually(t, func() bool { return b.Moving(quick) == nil })
}

// waitStalled returns once it is said that messages wait and are not taken.
func waitStalled(b *bus.Bus) {
	for {
		if err := b.Moving(quick); err != nil && strings.Contains(err.Error(), "1 messages wait") {
			return
		}
	}
}
