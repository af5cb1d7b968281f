package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// readAtATime is how many values are on their way at a time.
	readAtATime = 64
	// readerTTL is for how long the broker keeps a reader that has gone without a word.
	readerTTL = 10 * time.Second
)

// ReadKeys calls fn with every key of a bucket under a prefix, its value, and when that was stored. Unlike a watch, which has the broker send all it has, it needs
// little memory however many there are. An error says that not all were told.
func (b *Bus) ReadKeys(ctx context.Context, bucket, prefix string, fn func(key string, value []byte, stored time.Time)) error {
	subjects := "$KV." + bucket + "."
	connected, cancel := b.WhileConnected(ctx)
	defer cancel()
	managing, done := context.WithTimeout(connected, manageTimeout)
	defer done()
	reader, err := b.js.CreateConsumer(managing, bucketPrefix+bucket, jetstream.ConsumerConfig{
		FilterSubject: subjects + prefix + ".>", DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy, AckPolicy: jetstream.AckNonePolicy,
		MemoryStorage: true, Replicas: 1, InactiveThreshold: readerTTL,
	})
	if err != nil {
		return errors.Join(ctx.Err(), err)
	}
	defer func() { _ = b.js.DeleteConsumer(managing, bucketPrefix+bucket, reader.CachedInfo().Name) }()
	for left := reader.CachedInfo().NumPending; left > 0; {
		batch, err := reader.Fetch(int(min(left, readAtATime)), jetstream.FetchMaxWait(publishTimeout))
		if err != nil {
			return errors.Join(ctx.Err(), err)
		}
		before := left
		for msg := range batch.Messages() {
			meta, err := msg.Metadata()
			if err != nil {
				return err
			}
			left = meta.NumPending
			if msg.Headers().Get("KV-Operation") == "" {
				fn(strings.TrimPrefix(msg.Subject(), subjects), msg.Data(), meta.Timestamp)
			}
		}
		if err := errors.Join(ctx.Err(), batch.Error()); err != nil {
			return err
		}
		if connected.Err() != nil || left == before {
			return fmt.Errorf("%d keys under %s of %s were not sent", left, prefix, bucket)
		}
	}
	return nil
}
