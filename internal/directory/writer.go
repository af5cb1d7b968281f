package directory

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// Writer renews entries. Any number of them may write at once.
type Writer struct {
	bus    *bus.Bus
	bucket jetstream.KeyValue
}

// NewWriter returns a writer over the bucket that the bus has applied.
func NewWriter(ctx context.Context, b *bus.Bus) (*Writer, error) {
	bucket, err := b.Bucket(ctx, events.BucketDirectory)
	if err != nil {
		return nil, err
	}
	return &Writer{bus: b, bucket: bucket}, nil
}

// Version is what tells whether an entry is current: the versions, and the key that the credentials are sealed with, for a rotation changes nothing else.
type Version struct {
	Integration, Credentials int64
	Key                      string
}

// Put makes an entry what read returns, nil for an integration that is gone. It looks at the bucket first, reads then, and writes only if nobody has written in between: so what
// is written is never older than what it replaces, whoever else writes and in whatever order.
func (w *Writer) Put(ctx context.Context, id string, read func(context.Context) (*eventsv1.DirectoryEntry, error)) error {
	for {
		session := w.bus.Session(events.BucketDirectory)
		have, revision, err := w.get(ctx, id)
		if err != nil {
			return fmt.Errorf("look up %s in the directory: %w", id, err)
		}
		entry, err := read(ctx)
		if err != nil {
			return err
		}
		var want []byte
		if entry != nil {
			if want, err = (proto.MarshalOptions{Deterministic: true}).Marshal(entry); err != nil {
				return fmt.Errorf("encode directory entry %s: %w", id, err)
			}
		}
		if bytes.Equal(have, want) {
			return nil
		}
		if session != w.bus.Session(events.BucketDirectory) {
			// The revision may stand for another value by now.
			continue
		}
		err = w.put(ctx, id, want, revision)
		if err == nil || !errors.Is(err, errChanged) {
			return err
		}
	}
}

var errChanged = errors.New("somebody else has written")

// get returns a nil value and the revision to expect where there is no entry.
func (w *Writer) get(ctx context.Context, id string) (value []byte, revision uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	have, err := w.bucket.Get(ctx, id)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		w.bus.Restore(ctx, err)
		return nil, 0, err
	}
	return append([]byte{}, have.Value()...), have.Revision(), nil
}

func (w *Writer) put(ctx context.Context, id string, value []byte, revision uint64) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var err error
	switch {
	case value == nil:
		err = w.bucket.Delete(ctx, id, jetstream.LastRevision(revision))
	case revision == 0:
		// Create, for there may be the mark of a deletion.
		_, err = w.bucket.Create(ctx, id, value)
	default:
		_, err = w.bucket.Update(ctx, id, value, revision)
	}
	if bus.IsOutrun(err) {
		return errChanged
	}
	if err != nil {
		return fmt.Errorf("write %s to the directory: %w", id, err)
	}
	return nil
}

// Versions are those of all entries.
func (w *Writer) Versions(ctx context.Context) (map[string]Version, error) {
	all := map[string]Version{}
	err := w.bus.ReadKeys(ctx, events.BucketDirectory, ">", func(v bus.Value) {
		entry := &eventsv1.DirectoryEntry{}
		// What can't be read is renewed.
		if v.Key != completeKey && v.Data != nil && proto.Unmarshal(v.Data, entry) == nil {
			all[v.Key] = Version{Integration: entry.GetVersion(), Credentials: entry.GetCredentialsVersion(), Key: entry.GetKeyId()}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read the directory: %w", err)
	}
	return all, nil
}

// IsComplete reports whether [Writer.Complete] was called on this bucket.
func (w *Writer) IsComplete(ctx context.Context) (bool, error) {
	value, _, err := w.get(ctx, completeKey)
	return value != nil, err
}

// Complete says that every integration has an entry.
func (w *Writer) Complete(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if _, err := w.bucket.Put(ctx, completeKey, []byte("1")); err != nil {
		return fmt.Errorf("complete the directory: %w", err)
	}
	return nil
}
