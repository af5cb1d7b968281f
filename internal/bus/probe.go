package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tributaryhq/tributary/internal/wire"
)

// probeWithin is how long the broker may take to store a probe.
const probeWithin = 2 * time.Second

// Storing returns an error while the broker would not store a message: it can't be reached, its disk is full or JetStream is off, or there is no leader. It finds out
// by storing an empty value under a key of this process's own, in the bucket whose entries are dropped after some seconds.
func (b *Bus) Storing(ctx context.Context) error {
	if err := b.Ready(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, probeWithin)
	defer cancel()
	msg := &nats.Msg{Subject: "$KV." + wire.BucketWorkers + ".probe-" + b.id}
	if err := b.publishOnce(ctx, msg); err != nil {
		b.Restore(ctx, err)
		return fmt.Errorf("NATS does not store messages in %s: %w%s", wire.BucketWorkers, err, advice(err))
	}
	return nil
}

// advice says what to do about a broker that can be reached and does not store.
func advice(err error) string {
	switch {
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, jetstream.ErrJetStreamNotEnabled):
		return "; JetStream is off, or has no leader: look at the servers of the cluster. On one node whose disk was full, make room and start nats-server anew"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return "; look at its disk and its log: with a full disk nats-server has to be started anew once there is room"
	}
	return ""
}
