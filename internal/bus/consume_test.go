package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/wire"
)

func diff(t *testing.T, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// consume works off the bulk lane of p until the handler says stop, and returns when the consumption has ended. beside runs along with it.
func consume(t *testing.T, b *bus.Bus, c bus.Consumption, handle func(stop func(), d *bus.Delivery) error, beside ...func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var group sync.WaitGroup
	defer group.Wait()
	for _, f := range beside {
		group.Go(f)
	}
	c.Stream, c.Consumer = wire.StreamItems, wire.ItemsConsumer(wire.Bulk, "p", b.Timing())
	c.Handle = func(_ context.Context, d *bus.Delivery) error { return handle(cancel, d) }
	if err := b.Consume(ctx, c); err != nil {
		t.Errorf("consume: %v", err)
	}
}

func TestConsumeDecidesTheFateOfAMessage(t *testing.T) {
	tests := []struct {
		name string
		// fails is what the handler does at the first delivery.
		fails func() error
		want  []string
	}{
		{"done", func() error { return nil }, []string{"1 after 0s"}},
		{"handed back", func() error { return bus.Again(time.Minute, "later") }, []string{"1 after 0s", "2 after 1m0s"}},
		{"handed back, wrapped", func() error { return fmt.Errorf("so: %w", bus.Again(time.Minute, "later")) }, []string{"1 after 0s", "2 after 1m0s"}},
		{"handed back at once", func() error { return bus.Again(0, "now") }, []string{"1 after 0s", "2 after 100ms"}},
		{"failed", func() error { return errors.New("broken") }, []string{"1 after 0s", "2 after 2s"}},
		{"panicked", func() error { panic("boom") }, []string{"1 after 0s", "2 after 2s"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			natstest.Bubble(t, func(t *testing.T) {
				b := newBus(t, natstest.New(t).Connect(), bus.Options{})
				publish(t, b, 1)
				start := time.Now()
				var got []string
				consume(t, b, bus.Consumption{Slots: 2}, func(stop func(), d *bus.Delivery) error {
					got = append(got, fmt.Sprintf("%d after %s", d.Count, time.Since(start).Round(50*time.Millisecond)))
					if len(got) == len(tt.want) {
						stop()
					}
					if len(got) == 1 {
						return tt.fails()
					}
					return nil
				})
				diff(t, tt.want, got)
				synctest.Wait()
				if left := waiting(t, b); left != 0 {
					t.Errorf("%d messages are left", left)
				}
			})
		})
	}
}

func TestConsumeExtendsTheDeadlineWhileTheHandlerWorks(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		b := newBus(t, natstest.New(t).Connect(), bus.Options{Timing: wire.Timing{AckWait: 300 * time.Millisecond, WorkerLease: time.Second}})
		publish(t, b, 3)
		var mu sync.Mutex
		counts := map[string]uint64{}
		// Three slots, and more that could take what comes back.
		consume(t, b, bus.Consumption{Slots: 6, Grace: time.Hour}, func(stop func(), d *bus.Delivery) error {
			mu.Lock()
			counts[string(d.Body)] = max(counts[string(d.Body)], d.Count)
			mu.Unlock()
			<-time.After(10 * time.Second)
			stop()
			return nil
		})
		diff(t, map[string]uint64{"0": 1, "1": 1, "2": 1}, counts)
	})
}

func TestConsumeGivesTheMessagesOfADeadProcessToAnother(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		server := natstest.New(t)
		b := newBus(t, server.Connect(), bus.Options{})
		publish(t, b, 1)
		// A client that takes the message and is never heard of again.
		js, err := jetstream.New(server.Connect())
		if err != nil {
			t.Fatal(err)
		}
		consumer, err := js.CreateConsumer(t.Context(), wire.StreamItems, wire.ItemsConsumer(wire.Bulk, "p", b.Timing()))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := consumer.Next(); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		consume(t, b, bus.Consumption{Slots: 1}, func(stop func(), d *bus.Delivery) error {
			if after := time.Since(start).Round(time.Second); d.Count != 2 || after != b.Timing().AckWait {
				t.Errorf("delivery %d after %s, want 2 after %s", d.Count, after, b.Timing().AckWait)
			}
			stop()
			return nil
		})
	})
}

func TestConsumeBoundsWhatIsInWork(t *testing.T) {
	for _, slots := range []int{1, 3, 8} {
		t.Run(fmt.Sprint(slots), func(t *testing.T) {
			natstest.Bubble(t, func(t *testing.T) {
				b := newBus(t, natstest.New(t).Connect(), bus.Options{})
				const messages = 40
				publish(t, b, messages)
				var running, most, done atomic.Int64
				consume(t, b, bus.Consumption{Slots: slots, Grace: time.Minute}, func(stop func(), _ *bus.Delivery) error {
					now := running.Add(1)
					defer running.Add(-1)
					for m := most.Load(); now > m && !most.CompareAndSwap(m, now); m = most.Load() {
					}
					<-time.After(time.Second)
					if done.Add(1) == messages {
						stop()
					}
					return nil
				})
				if most.Load() != int64(slots) {
					t.Errorf("at most %d messages were in work, want %d", most.Load(), slots)
				}
			})
		})
	}
}

func TestConsumeHoldsNoMoreThanItsSlots(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		b := newBus(t, natstest.New(t).Connect(), bus.Options{})
		publish(t, b, 20)
		consume(t, b, bus.Consumption{Slots: 4, Grace: time.Minute}, func(stop func(), _ *bus.Delivery) error {
			<-time.After(time.Minute)
			js, err := jetstream.New(b.Conn())
			if err != nil {
				return err
			}
			consumer, err := js.Consumer(t.Context(), wire.StreamItems, "worker-bulk-p")
			if err != nil {
				return err
			}
			if held := consumer.CachedInfo().NumAckPending; held > 4 {
				t.Errorf("%d messages are held, want at most 4", held)
			}
			stop()
			return nil
		})
	})
}

func TestConsumeStops(t *testing.T) {
	tests := []struct {
		name string
		// work is how long a handler works, unless told to stop.
		work    time.Duration
		heeds   bool
		longest time.Duration
		left    uint64
	}{
		{"when handlers end within their grace", 20 * time.Second, true, 31 * time.Second, 0},
		{"when the grace is over", time.Hour, true, 31 * time.Second, 2},
		{"when handlers don't heed it", time.Hour, false, 33 * time.Second, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			natstest.Bubble(t, func(t *testing.T) {
				b := newBus(t, natstest.New(t).Connect(), bus.Options{})
				publish(t, b, 2)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var stopped time.Time
				var taken, told atomic.Int64
				release := make(chan struct{})
				err := b.Consume(ctx, bus.Consumption{
					Stream: wire.StreamItems, Consumer: wire.ItemsConsumer(wire.Bulk, "p", b.Timing()), Slots: 2, Grace: 30 * time.Second,
					Handle: func(work context.Context, d *bus.Delivery) error {
						if taken.Add(1) == 2 {
							stopped = time.Now()
							cancel()
						}
						<-d.Stopping
						told.Add(1)
						ended := work.Done()
						if !tt.heeds {
							ended = release
						}
						select {
						case <-time.After(tt.work):
							return nil
						case <-ended:
							return work.Err()
						}
					},
				})
				took := time.Since(stopped)
				close(release)
				synctest.Wait()
				if err != nil {
					t.Errorf("consume: %v", err)
				}
				if taken.Load() != 2 || told.Load() != 2 {
					t.Errorf("%d handlers ran and %d were told to stop, want 2", taken.Load(), told.Load())
				}
				if took > tt.longest {
					t.Errorf("it took %s to stop, want at most %s", took, tt.longest)
				}
				if left := waiting(t, b); left != tt.left {
					t.Errorf("%d messages are left, want %d", left, tt.left)
				}
			})
		})
	}
}

func TestConsumeHandsNothingTwiceOverStops(t *testing.T) {
	b := newBus(t, natstest.New(t).Connect(), bus.Options{})
	const messages = 300
	publish(t, b, messages)
	var mu sync.Mutex
	var got []uint64
	for len(got) < messages {
		before := len(got)
		consume(t, b, bus.Consumption{Slots: 5, Grace: time.Minute}, func(stop func(), d *bus.Delivery) error {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, d.Sequence)
			if len(got) >= before+40 || len(got) == messages {
				stop()
			}
			return nil
		})
	}
	slices.Sort(got)
	if unique := len(slices.Compact(slices.Clone(got))); unique != messages || len(got) != messages {
		t.Errorf("%d deliveries of %d messages, want each of %d once", len(got), unique, messages)
	}
}

func TestConsumeHold(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		b := newBus(t, natstest.New(t).Connect(), bus.Options{})
		publish(t, b, 1)
		start := time.Now()
		hold := func(context.Context) error {
			if time.Since(start) < time.Hour {
				return errors.New("not now")
			}
			return nil
		}
		consume(t, b, bus.Consumption{Slots: 1, Hold: hold}, func(stop func(), d *bus.Delivery) error {
			if after := time.Since(start).Round(time.Second); after != time.Hour || d.Count != 1 {
				t.Errorf("delivery %d after %s, want the first after an hour", d.Count, after)
			}
			stop()
			return nil
		})
	})
}

func TestConsumeStopsWhileHeld(t *testing.T) {
	b := newBus(t, natstest.New(t).Connect(), bus.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := b.Consume(ctx, bus.Consumption{
		Stream: wire.StreamItems, Consumer: wire.ItemsConsumer(wire.Bulk, "p", b.Timing()), Slots: 1,
		Hold:   func(context.Context) error { cancel(); return errors.New("not now") },
		Handle: func(context.Context, *bus.Delivery) error { return nil },
	})
	if err != nil {
		t.Errorf("consume: %v", err)
	}
}

// interruptions are what the broker may do to a consumption.
func TestConsumeGoesOn(t *testing.T) {
	tests := []struct {
		name      string
		interrupt func(*natstest.Server, jetstream.JetStream) error
	}{
		{"after a restart", func(s *natstest.Server, _ jetstream.JetStream) error {
			s.Restart()
			return nil
		}},
		{"after its consumer was deleted", func(_ *natstest.Server, js jetstream.JetStream) error {
			return js.DeleteConsumer(context.Background(), wire.StreamItems, "worker-bulk-p")
		}},
		{"after its stream was deleted", func(_ *natstest.Server, js jetstream.JetStream) error {
			return js.DeleteStream(context.Background(), wire.StreamItems)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := natstest.New(t)
			nc := server.Connect(nats.ReconnectWait(quick), quiet(), nats.MaxReconnects(-1))
			b := newBus(t, nc, bus.Options{Timing: wire.Timing{AckWait: time.Second, WorkerLease: time.Second}})
			js, err := jetstream.New(nc)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			seen := make(chan string, 100)
			var done sync.WaitGroup
			done.Go(func() {
				err := b.Consume(ctx, bus.Consumption{
					Stream: wire.StreamItems, Consumer: wire.ItemsConsumer(wire.Bulk, "p", b.Timing()), Slots: 2,
					Handle: func(_ context.Context, d *bus.Delivery) error { seen <- string(d.Body); return nil },
				})
				if err != nil {
					t.Errorf("consume: %v", err)
				}
			})
			for round := range 2 {
				body := fmt.Sprint("round ", round)
				if err := b.Publish(t.Context(), message(body, body)); err != nil {
					t.Fatal(err)
				}
				for receive(t, seen) != body {
				}
				if err := tt.interrupt(server, js); err != nil {
					t.Fatal(err)
				}
			}
			if err := b.Publish(t.Context(), message("last", "last")); err != nil {
				t.Fatal(err)
			}
			for receive(t, seen) != "last" {
			}
			cancel()
			done.Wait()
		})
	}
}

func TestConsumeReturnsWhatIsWrongForGood(t *testing.T) {
	b := newBus(t, natstest.New(t).Connect(), bus.Options{})
	config := wire.ItemsConsumer(wire.Bulk, "p", b.Timing())
	if _, err := mustStream(t, b).CreateConsumer(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	config.Durable = "overlapping"
	err := b.Consume(t.Context(), bus.Consumption{Stream: wire.StreamItems, Consumer: config, Slots: 1})
	if err == nil {
		t.Error("an overlapping consumer is accepted")
	}
}

func mustStream(t *testing.T, b *bus.Bus) jetstream.Stream {
	t.Helper()
	js, err := jetstream.New(b.Conn())
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), wire.StreamItems)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
