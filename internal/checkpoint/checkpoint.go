// Package checkpoint keeps what the items of a run have come to: one bucket entry for each message of a batch, and a
// total once the enumeration has ended. Workers merge entries, syncers and schedulers watch them, and closing a run
// folds them.
package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/cells"
	"github.com/tributaryhq/tributary/internal/wire"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

const (
	retryEvery = 200 * time.Millisecond
	totalToken = "total"
	// First is the Index of a batch's first message, whose entry covers the whole batch.
	First = int32(-1)
)

// Key names an entry.
type Key struct {
	Run     string
	Attempt int32
	Batch   int32
	// Index is the first item of a message that was published again, or [First].
	Index int32
}

func (k Key) String() string {
	key := prefix(k.Run, k.Attempt) + "." + strconv.Itoa(int(k.Batch))
	if k.Index == First {
		return key
	}
	return key + "." + strconv.Itoa(int(k.Index))
}

// Update is one change seen by a watch: either an entry or a total.
type Update struct {
	Key   Key
	Entry *eventsv1.Entry
	Total *eventsv1.Total
	// At is when the broker stored it.
	At time.Time
}

// Store reads and writes the bucket.
type Store struct {
	bus    *bus.Bus
	bucket jetstream.KeyValue
	cells  cells.Cells
}

// Open returns the store over the bucket that the bus has applied.
func Open(ctx context.Context, b *bus.Bus) (*Store, error) {
	bucket, err := b.Bucket(ctx, wire.BucketCheckpoints)
	if err != nil {
		return nil, err
	}
	entries, err := b.Cells(ctx, wire.BucketCheckpoints)
	if err != nil {
		return nil, err
	}
	return &Store{bus: b, bucket: bucket, cells: entries}, nil
}

// WriteTotal writes an attempt's total once; a second one changes nothing.
func (s *Store) WriteTotal(ctx context.Context, run string, attempt int32, total *eventsv1.Total) error {
	data, err := proto.Marshal(total)
	if err != nil {
		return fmt.Errorf("encode total of run %s: %w", run, err)
	}
	_, err = s.put(ctx, prefix(run, attempt)+"."+totalToken, data, 0)
	return err
}

// ReadTotal returns an attempt's total, or nil where there is none.
func (s *Store) ReadTotal(ctx context.Context, run string, attempt int32) (*eventsv1.Total, error) {
	total := &eventsv1.Total{}
	revision, err := s.get(ctx, prefix(run, attempt)+"."+totalToken, total)
	if err != nil || revision == 0 {
		return nil, err
	}
	return total, nil
}

// Free removes the entries of a run's attempt, or of the whole run when attempt is 0.
func (s *Store) Free(ctx context.Context, run string, attempt int32) error {
	if attempt == 0 {
		return s.bus.PurgeKeys(ctx, wire.BucketCheckpoints, run)
	}
	return s.bus.PurgeKeys(ctx, wire.BucketCheckpoints, prefix(run, attempt))
}

func (s *Store) get(ctx context.Context, key string, into proto.Message) (revision uint64, err error) {
	err = s.insist(ctx, "read "+key, func() error {
		value, read, err := s.cells.Read(ctx, key)
		if err != nil || read == 0 {
			return err
		}
		revision = read
		if err := proto.Unmarshal(value, into); err != nil {
			return fmt.Errorf("read %s: %w", key, err)
		}
		return nil
	})
	return revision, err
}

// put stores data if the key still has the revision, 0 for none, and returns the new one; 0 if it did not.
func (s *Store) put(ctx context.Context, key string, data []byte, revision uint64) (stored uint64, err error) {
	err = s.insist(ctx, "write "+key, func() (err error) {
		stored, _, err = s.cells.Write(ctx, key, data, revision)
		return err
	})
	return stored, err
}

// insist tries again while the broker does not answer. A write that was stored before its acknowledgement was lost
// shows as a conflict, which the caller resolves by reading.
func (s *Store) insist(ctx context.Context, what string, call func() error) error {
	for {
		err := call()
		if err == nil || hopeless(err) {
			return err
		}
		s.bus.Log().Debug("checkpoints do not answer, trying again", "what", what, "error", err)
		timer := time.NewTimer(retryEvery)
		select {
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%s: %w", what, ctx.Err())
		case <-timer.C:
		}
	}
}

// hopeless reports whether trying again can't help.
func hopeless(err error) bool {
	return errors.Is(err, jetstream.ErrInvalidKey) || errors.Is(err, proto.Error) ||
		errors.Is(err, nats.ErrMaxPayload) ||
		errors.Is(err, nats.ErrConnectionClosed)
}

func prefix(run string, attempt int32) string { return run + "." + strconv.Itoa(int(attempt)) }

// parseKey reads a bucket key; total is true for the key of a total.
func parseKey(key string) (k Key, total bool, err error) {
	tokens := strings.Split(key, ".")
	if len(tokens) < 3 || len(tokens) > 4 {
		return Key{}, false, fmt.Errorf("checkpoint key %q has %d tokens", key, len(tokens))
	}
	if tokens[0] == "" {
		return Key{}, false, fmt.Errorf("checkpoint key %q names no run", key)
	}
	k = Key{Run: tokens[0], Index: First}
	if k.Attempt, err = parseNumber(tokens[1]); err != nil {
		return Key{}, false, fmt.Errorf("checkpoint key %q: %w", key, err)
	}
	if tokens[2] == totalToken && len(tokens) == 3 {
		return k, true, nil
	}
	if k.Batch, err = parseNumber(tokens[2]); err != nil {
		return Key{}, false, fmt.Errorf("checkpoint key %q: %w", key, err)
	}
	if len(tokens) == 4 {
		if k.Index, err = parseNumber(tokens[3]); err != nil {
			return Key{}, false, fmt.Errorf("checkpoint key %q: %w", key, err)
		}
	}
	return k, false, nil
}

func parseNumber(s string) (int32, error) {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != s {
		return 0, fmt.Errorf("%q is not a number", s)
	}
	return int32(n), nil
}
