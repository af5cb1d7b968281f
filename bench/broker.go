package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tributaryhq/tributary/internal/wire"
)

const (
	// brokerWindow is how many publications wait for their acknowledgement, brokerPull how many messages a pull brings:
	// the best of what was tried.
	brokerWindow = 4000
	brokerPull   = 500
	brokerStream = "BENCH"
	// brokerPatience is how long a publication may wait for its place in the window: a broker that writes through is
	// slow.
	brokerPatience = time.Minute
)

// measureBroker has the broker carry one message for each item, with everything left out that makes a queue of it: no
// handler, no outcome, no retry. It publishes with message ids while it consumes and acknowledges.
func measureBroker(ctx context.Context, s *servers, items int) (usage, error) {
	nc, err := s.nats.Connect()
	if err != nil {
		return usage{}, err
	}
	defer nc.Close()
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(brokerWindow))
	if err != nil {
		return usage{}, fmt.Errorf("use JetStream: %w", err)
	}
	stream, err := js.CreateStream(ctx, jetstream.StreamConfig{
		Name: brokerStream, Subjects: []string{"bench.>"}, Retention: jetstream.WorkQueuePolicy,
		Duplicates: wire.DedupeWindow,
	})
	if err != nil {
		return usage{}, fmt.Errorf("make a stream: %w", err)
	}
	defer func() { _ = js.DeleteStream(context.WithoutCancel(ctx), brokerStream) }()
	consumer,
		err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		Durable:   "bench",
		AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 10 * brokerPull,
	})
	if err != nil {
		return usage{}, fmt.Errorf("make a consumer: %w", err)
	}
	m := startMeter(s.database)
	consumed := make(chan struct{})
	var count atomic.Int64
	running, err := consumer.Consume(func(msg jetstream.Msg) {
		if msg.Ack() == nil && count.Add(1) == int64(items) {
			close(consumed)
		}
	}, jetstream.PullMaxMessages(brokerPull))
	if err != nil {
		return usage{}, fmt.Errorf("consume: %w", err)
	}
	defer running.Stop()
	if err := publishEach(js, items); err != nil {
		return usage{}, err
	}
	select {
	case <-consumed:
	case <-ctx.Done():
		return usage{}, ctx.Err()
	}
	// What is sent is processed once the server answers.
	if err := nc.FlushTimeout(10 * time.Second); err != nil {
		return usage{}, fmt.Errorf("flush: %w", err)
	}
	return m.stop(), nil
}

func publishEach(js jetstream.JetStream, items int) error {
	for i := 1; i <= items; i++ {
		body, err := json.Marshal(newRecord(i))
		if err != nil {
			return fmt.Errorf("encode a record: %w", err)
		}
		if _, err := js.PublishAsync("bench.item", body, jetstream.WithMsgID(fmt.Sprintf("run/1/%d", i)),
			jetstream.WithStallWait(brokerPatience)); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
	}
	return nil
}
