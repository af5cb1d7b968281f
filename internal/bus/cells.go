package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tributaryhq/tributary/internal/watchdog"
)

// cellTimeout is how long one read or write of a cell may take: a request to an upstream waits for it.
const cellTimeout = 2 * time.Second

// Cells are a bucket's entries, each a small value that several processes change by compare-and-set. All entries that
// are changed so go through them. A revision holds within one session of the bucket: one of an earlier session, which
// the broker may have given out a second time since, loses. Revisions grow from session to session.
type Cells struct {
	bus    *Bus
	bucket jetstream.KeyValue
}

// Cells opens a bucket that [Bus.Apply] made.
func (b *Bus) Cells(ctx context.Context, bucket string) (*Cells, error) {
	opened, err := b.Bucket(ctx, bucket)
	if err != nil {
		return nil, err
	}
	return &Cells{bus: b, bucket: opened}, nil
}

// Read returns a cell's value and its revision: nil and 0 for a cell that was never written.
func (c *Cells) Read(ctx context.Context, key string) (value []byte, revision uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, cellTimeout)
	defer cancel()
	session := c.bus.Session(c.bucket.Bucket())
	entry, err := c.bucket.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		watchdog.Alive(ctx)
		return nil, 0, nil
	}
	if err != nil {
		c.bus.Restore(ctx, err)
		return nil, 0, fmt.Errorf("read %s of %s: %w", key, c.bucket.Bucket(), err)
	}
	watchdog.Alive(ctx)
	return entry.Value(), stamped(session, entry.Revision()), nil
}

// Write sets a cell that is still at the given revision, 0 for none, and returns its next. It is false when another
// writer was faster. After an error it is not known whether the cell was written.
func (c *Cells) Write(
	ctx context.Context, key string, value []byte, revision uint64,
) (next uint64, ok bool, err error) {
	return c.change(ctx, "write", key, revision, func(ctx context.Context, revision uint64) (uint64, error) {
		if revision == 0 {
			// Create, for there may be the mark of a deletion.
			return c.bucket.Create(ctx, key, value)
		}
		return c.bucket.Update(ctx, key, value, revision)
	})
}

// Delete removes a cell that is still at the given revision. It is false when another writer was faster.
func (c *Cells) Delete(ctx context.Context, key string, revision uint64) (ok bool, err error) {
	_, ok, err = c.change(ctx, "delete", key, revision, func(ctx context.Context, revision uint64) (uint64, error) {
		return 0, c.bucket.Delete(ctx, key, jetstream.LastRevision(revision))
	})
	return ok, err
}

func (c *Cells) change(
	ctx context.Context, what, key string, revision uint64, change func(context.Context, uint64) (uint64, error),
) (next uint64, ok bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, cellTimeout)
	defer cancel()
	session := c.bus.Session(c.bucket.Bucket())
	if revision != 0 && revision != stamped(session, revision) {
		return 0, false, nil
	}
	next, err = change(ctx, revision&revisionMask)
	if IsOutrun(err) {
		watchdog.Alive(ctx)
		return 0, false, nil
	}
	if err != nil {
		c.bus.Restore(ctx, err)
		return 0, false, fmt.Errorf("%s %s of %s: %w", what, key, c.bucket.Bucket(), err)
	}
	watchdog.Alive(ctx)
	return stamped(session, next), true, nil
}

// A revision is stamped with its session in the upper bits.
const (
	revisionBits = 48
	revisionMask = 1<<revisionBits - 1
)

func stamped(session, revision uint64) uint64 { return session<<revisionBits | revision&revisionMask }

// IsOutrun reports whether a compare-and-set met another value. One node and a cluster say it with different codes.
func IsOutrun(err error) bool {
	api, is := errors.AsType[*jetstream.APIError](err)
	return errors.Is(err, jetstream.ErrKeyExists) || is &&
		(api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
			api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// Watch calls fn with each cell whose key matches the pattern, and with each that is written from then on, until ctx
// ends. After a lost connection it calls fn with all of them again.
func (c *Cells) Watch(ctx context.Context, pattern string, fn func(key string, value []byte, revision uint64)) error {
	return c.bus.FollowKeys(ctx, c.bucket, pattern, func(v Value) {
		if v.Data != nil {
			fn(v.Key, v.Data, stamped(v.session, v.Revision))
		}
	}, nil)
}
