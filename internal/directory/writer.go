package directory

import (
	"bytes"
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/wire"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// Writer renews entries. Any number of them may write at once.
type Writer struct {
	bus   *bus.Bus
	cells *bus.Cells
}

// NewWriter returns a writer over the bucket that the bus has applied.
func NewWriter(ctx context.Context, b *bus.Bus) (*Writer, error) {
	entries, err := b.Cells(ctx, wire.BucketDirectory)
	if err != nil {
		return nil, err
	}
	return &Writer{bus: b, cells: entries}, nil
}

// Version is what tells whether an entry is current: the versions, and the key that the credentials are sealed with,
// for a rotation changes nothing else.
type Version struct {
	Integration, Credentials int64
	Key                      string
}

// Put makes an entry what read returns, nil for an integration that is gone. It looks at the bucket first, reads then,
// and writes only if nobody has written in between: so what is written is never older than what it replaces, whoever
// else writes and in whatever order.
func (w *Writer) Put(ctx context.Context, id string, read func(context.Context) (*eventsv1.DirectoryEntry,
	error),
) error {
	for {
		have, revision, err := w.cells.Read(ctx, id)
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
		written := false
		if want == nil {
			written, err = w.cells.Delete(ctx, id, revision)
		} else {
			_, written, err = w.cells.Write(ctx, id, want, revision)
		}
		if written || err != nil {
			return err
		}
	}
}

// Versions are those of all entries.
func (w *Writer) Versions(ctx context.Context) (map[string]Version, error) {
	all := map[string]Version{}
	err := w.bus.ReadKeys(ctx, wire.BucketDirectory, ">", func(v bus.Value) {
		entry := &eventsv1.DirectoryEntry{}
		// What can't be read is renewed.
		if v.Key != completeKey && v.Data != nil && proto.Unmarshal(v.Data, entry) == nil {
			all[v.Key] = Version{
				Integration: entry.GetVersion(), Credentials: entry.GetCredentialsVersion(),
				Key: entry.GetKeyId(),
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read the directory: %w", err)
	}
	return all, nil
}

// IsComplete reports whether [Writer.Complete] was called on this bucket.
func (w *Writer) IsComplete(ctx context.Context) (bool, error) {
	value, _, err := w.cells.Read(ctx, completeKey)
	return value != nil, err
}

// Complete says that every integration has an entry.
func (w *Writer) Complete(ctx context.Context) error {
	if _, _, err := w.cells.Write(ctx, completeKey, []byte("1"), 0); err != nil {
		return fmt.Errorf("complete the directory: %w", err)
	}
	return nil
}
