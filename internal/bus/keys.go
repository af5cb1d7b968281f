package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tributaryhq/tributary/internal/watchdog"
)

const (
	// readAtATime is how many values are on their way at a time.
	readAtATime = 64
	// readerTTL is for how long the broker keeps a reader that has gone without a word.
	readerTTL = 10 * time.Second
)

// Value is what a key of a bucket holds.
type Value struct {
	Key string
	// Data is nil for a key that was deleted.
	Data     []byte
	Revision uint64
	// Stored is when the broker took it.
	Stored time.Time
	// session is that in which the revision was given.
	session uint64
}

var errFollowEnded = errors.New("the watch has ended")

// FollowKeys calls fn with the value of every key of a bucket that matches the pattern, then caughtUp unless that is nil, then fn with every change, until ctx ends.
// After a lost connection, or when the bucket was made anew or went back, it does all of that again.
func (b *Bus) FollowKeys(ctx context.Context, bucket jetstream.KeyValue, pattern string, fn func(Value), caughtUp func()) error {
	for ctx.Err() == nil {
		err := b.followOnce(ctx, bucket, pattern, fn, caughtUp)
		b.log.Debug("watch starts over", "bucket", bucket.Bucket(), "pattern", pattern, "error", err)
		b.Restore(ctx, err)
		_ = b.rest(ctx)
	}
	return nil
}

// followOnce ends with the connection: the client would resume a watch only after 10 s, and behind the place where it was, which is nowhere when the broker has lost
// its store.
func (b *Bus) followOnce(ctx context.Context, bucket jetstream.KeyValue, pattern string, fn func(Value), caughtUp func()) error {
	connected, cancel := b.WhileConnected(ctx)
	defer cancel()
	// A watch stays behind the place where it was, and sees nothing of a bucket that begins at 1 again.
	session, changed := b.Session(bucket.Bucket()), b.Changed(bucket.Bucket())
	watcher, err := bucket.Watch(connected, pattern)
	if err != nil {
		return errors.Join(ctx.Err(), errFollowEnded, err)
	}
	defer func() {
		_ = watcher.Stop()
		go drain(watcher.Updates())
	}()
	step := func(f func()) {
		_ = watchdog.Step(ctx, "follow "+bucket.Bucket(), func(context.Context) error { f(); return nil })
	}
	for {
		select {
		case <-connected.Done():
			return errors.Join(ctx.Err(), errFollowEnded)
		case <-changed:
			return errFollowEnded
		case update, ok := <-watcher.Updates():
			switch {
			case !ok:
				return errors.Join(ctx.Err(), errFollowEnded)
			case update != nil:
				b.histories.saw(bucketPrefix+bucket.Bucket(), update.Revision())
				value := valueOf(update.Key(), update.Value(), update.Operation() == jetstream.KeyValuePut, update.Revision(), update.Created())
				value.session = session
				step(func() { fn(value) })
			case caughtUp != nil:
				step(caughtUp)
			}
		}
	}
}

// drainFor is how long nothing may come of a watch that was stopped before it is left. The client does not always close
// its channel when the connection ends at the same moment.
const drainFor = 10 * time.Second

// drain takes the rest of a watch that was stopped: the client's goroutine may wait for somebody to take the next update.
func drain(updates <-chan jetstream.KeyValueEntry) {
	for {
		select {
		case _, ok := <-updates:
			if !ok {
				return
			}
		case <-time.After(drainFor):
			return
		}
	}
}

func valueOf(key string, data []byte, put bool, revision uint64, stored time.Time) Value {
	switch {
	case !put:
		data = nil
	case data == nil:
		data = []byte{}
	}
	return Value{Key: key, Data: data, Revision: revision, Stored: stored}
}

// ReadKeys calls fn with the value of every key of a bucket that matches the pattern, once. Unlike a watch, which has the broker send all it has, it needs little
// memory however many there are. An error says that not all were told.
func (b *Bus) ReadKeys(ctx context.Context, bucket, pattern string, fn func(Value)) error {
	subjects := "$KV." + bucket + "."
	connected, cancel := b.WhileConnected(ctx)
	defer cancel()
	managing, done := context.WithTimeout(connected, manageTimeout)
	defer done()
	reader, err := b.js.CreateConsumer(managing, bucketPrefix+bucket, jetstream.ConsumerConfig{
		FilterSubject: subjects + pattern, DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy, AckPolicy: jetstream.AckNonePolicy,
		MemoryStorage: true, Replicas: 1, InactiveThreshold: readerTTL,
	})
	if err != nil {
		return errors.Join(ctx.Err(), err)
	}
	defer func() { _ = b.js.DeleteConsumer(managing, bucketPrefix+bucket, reader.CachedInfo().Name) }()
	if reader.CachedInfo().NumPending == 0 {
		return nil
	}
	var told uint64
	for left := reader.CachedInfo().NumPending; left > 0; {
		batch, err := reader.Fetch(int(min(left, readAtATime)), jetstream.FetchMaxWait(publishTimeout))
		if err != nil {
			return errors.Join(ctx.Err(), err)
		}
		watchdog.Alive(ctx)
		before := left
		for msg := range batch.Messages() {
			meta, err := msg.Metadata()
			if err != nil {
				return err
			}
			left, told = meta.NumPending, meta.Sequence.Stream
			fn(valueOf(strings.TrimPrefix(msg.Subject(), subjects), msg.Data(), msg.Headers().Get("KV-Operation") == "", meta.Sequence.Stream, meta.Timestamp))
		}
		if err := errors.Join(ctx.Err(), batch.Error()); err != nil {
			return err
		}
		if connected.Err() != nil || left == before {
			return fmt.Errorf("%d keys like %s of %s were not sent", left, pattern, bucket)
		}
	}
	return b.readMoved(connected, bucket, pattern, told+1, fn)
}

// readMoved tells the keys that were written again while they were read, and that stand behind the others since. The number of messages that wait for a reader
// does not count them at once: the broker takes a key's old value off it before it adds the new one.
func (b *Bus) readMoved(ctx context.Context, bucket, pattern string, next uint64, fn func(Value)) error {
	ctx, cancel := context.WithTimeout(ctx, manageTimeout)
	defer cancel()
	stream, err := b.js.Stream(ctx, bucketPrefix+bucket)
	if err != nil {
		return err
	}
	subjects := "$KV." + bucket + "."
	for {
		msg, err := stream.GetMsg(ctx, next, jetstream.WithGetMsgSubject(subjects+pattern))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read what changed of keys like %s of %s: %w", pattern, bucket, err)
		}
		fn(valueOf(strings.TrimPrefix(msg.Subject, subjects), msg.Data, msg.Header.Get("KV-Operation") == "", msg.Sequence, msg.Time))
		next = msg.Sequence + 1
	}
}
