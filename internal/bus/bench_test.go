package bus_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/wire"
)

const benchMessages = 20_000

// BenchmarkConsume works off small messages with handlers that do nothing, through the bus and, to compare, through the
// client alone.
func BenchmarkConsume(b *testing.B) {
	b.Run("bus", func(b *testing.B) {
		benchConsume(b, func(ctx context.Context, _ jetstream.JetStream, u *bus.Bus, seen func()) {
			err := u.Consume(ctx, bus.Consumption{
				Stream: wire.StreamItems, Consumer: wire.ItemsConsumer(wire.Bulk, "p", u.Timing()), Slots: 8,
				Handle: func(context.Context, *bus.Delivery) error { seen(); return nil },
			})
			if err != nil {
				b.Error(err)
			}
		})
	})
	b.Run("client", func(b *testing.B) {
		benchConsume(b, func(ctx context.Context, js jetstream.JetStream, u *bus.Bus, seen func()) {
			consumer, err := js.CreateConsumer(ctx, wire.StreamItems, wire.ItemsConsumer(wire.Bulk, "p", u.Timing()))
			if err != nil {
				b.Error(err)
				return
			}
			running, err := consumer.Consume(func(m jetstream.Msg) { _ = m.Ack(); seen() })
			if err != nil {
				b.Error(err)
				return
			}
			<-ctx.Done()
			running.Stop()
		})
	})
}

func benchConsume(b *testing.B, consume func(context.Context, jetstream.JetStream, *bus.Bus, func())) {
	b.Helper()
	nc := natstest.New(b).Connect()
	u := newBus(b, nc, bus.Options{})
	js, err := jetstream.New(nc)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		b.StopTimer()
		fill(b, js)
		ctx, cancel := context.WithCancel(b.Context())
		var count atomic.Int64
		var done sync.WaitGroup
		b.StartTimer()
		done.Go(func() {
			consume(ctx, js, u, func() {
				if count.Add(1) == benchMessages {
					cancel()
				}
			})
		})
		<-ctx.Done()
		b.StopTimer()
		done.Wait()
		b.StartTimer()
	}
	b.ReportMetric(float64(b.N)*benchMessages/b.Elapsed().Seconds(), "messages/s")
}

func fill(b *testing.B, js jetstream.JetStream) {
	b.Helper()
	subject := wire.ItemsSubject(wire.ItemAddress{
		Lane: wire.Bulk, Provider: "p", Integration: "i",
		Run: "r", Attempt: 1,
	})
	for i := range benchMessages {
		if _, err := js.PublishAsync(subject, []byte(fmt.Sprint(i))); err != nil {
			b.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
}
