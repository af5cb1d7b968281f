package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// cellTimeout is how long one read or write of a cell may take: a request to an upstream waits for it.
const cellTimeout = 2 * time.Second

// Cells are a bucket's entries, each a small value that several processes change by compare-and-set.
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
	entry, err := c.bucket.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		c.bus.Restore(ctx, err)
		return nil, 0, fmt.Errorf("read %s of %s: %w", key, c.bucket.Bucket(), err)
	}
	return entry.Value(), entry.Revision(), nil
}

// Write sets a cell that is still at the given revision, and returns its next. It is false when somebody else was faster. After an error nobody
// knows whether the cell was written.
func (c *Cells) Write(ctx context.Context, key string, value []byte, revision uint64) (next uint64, ok bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, cellTimeout)
	defer cancel()
	next, err = c.bucket.Update(ctx, key, value, revision)
	if IsOutrun(err) {
		return 0, false, nil
	}
	if err != nil {
		c.bus.Restore(ctx, err)
		return 0, false, fmt.Errorf("write %s of %s: %w", key, c.bucket.Bucket(), err)
	}
	return next, true, nil
}

// IsOutrun reports whether a compare-and-set met another value. One node and a cluster say it with different codes.
func IsOutrun(err error) bool {
	api, is := errors.AsType[*jetstream.APIError](err)
	return errors.Is(err, jetstream.ErrKeyExists) || is && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// Watch calls fn with each cell whose key matches the pattern, and with each that is written from then on, until ctx ends. After a lost connection
// it calls fn with all of them again.
func (c *Cells) Watch(ctx context.Context, pattern string, fn func(key string, value []byte, revision uint64)) error {
	return c.bus.FollowKeys(ctx, c.bucket, pattern, func(v Value) {
		if v.Data != nil {
			fn(v.Key, v.Data, v.Revision)
		}
	}, nil)
}
