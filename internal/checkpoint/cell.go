package checkpoint

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// Cell is the place of an entry, and the entry as it was last seen there: news can be joined into it without reading it
// again.
type Cell struct {
	store    *Store
	key      Key
	entry    *eventsv1.Entry
	revision uint64
}

// Cell reads an entry; it is empty where there is none.
func (s *Store) Cell(ctx context.Context, key Key) (*Cell, error) {
	c := &Cell{store: s, key: key}
	return c, c.read(ctx)
}

// Read returns an entry, or an empty one where there is none.
func (s *Store) Read(ctx context.Context, key Key) (*eventsv1.Entry, error) {
	c, err := s.Cell(ctx, key)
	return c.entry, err
}

// Merge is [Cell.Merge] for those who have not seen the entry. It returns the entry as it stands then.
func (s *Store) Merge(ctx context.Context, key Key, news *eventsv1.Entry) (*eventsv1.Entry, error) {
	c, err := s.Cell(ctx, key)
	if err != nil {
		return nil, err
	}
	if err := c.Merge(ctx, news); err != nil {
		return nil, err
	}
	return c.entry, nil
}

// Entry is the entry as it was last seen.
func (c *Cell) Entry() *eventsv1.Entry { return c.entry }

// Merge joins news into the entry by compare-and-set: for each item the state that is further on wins, whoever wrote it
// and in whatever order. It goes on until the broker has stored it or ctx ends.
func (c *Cell) Merge(ctx context.Context, news *eventsv1.Entry) error {
	for fresh := false; ; fresh = true {
		joined := proto.CloneOf(c.entry)
		merge(joined, news)
		if c.revision == 0 || !proto.Equal(c.entry, joined) {
			data, err := encode(joined, c.store.bus.MaxBody())
			if err != nil {
				return fmt.Errorf("encode entry %s: %w", c.key, err)
			}
			stored, err := c.store.put(ctx, c.key.String(), data, c.revision)
			if err != nil {
				return err
			}
			if stored > 0 {
				c.entry, c.revision = joined, stored
				return nil
			}
		} else if fresh {
			// So it is after a write whose acknowledgement was lost.
			return nil
		}
		if err := c.read(ctx); err != nil {
			return err
		}
	}
}

func (c *Cell) read(ctx context.Context) (err error) {
	c.entry = &eventsv1.Entry{}
	c.revision, err = c.store.get(ctx, c.key.String(), c.entry)
	return err
}

// encode leaves out what is only shown to people where an entry would be too large for a message: it must not keep
// outcomes from being written.
func encode(entry *eventsv1.Entry, most int) ([]byte, error) {
	data, err := proto.Marshal(entry)
	if err != nil || len(data) <= most {
		return data, err
	}
	for _, outcome := range entry.GetOutcomes() {
		outcome.Reason, outcome.Wait = "", nil
	}
	return proto.Marshal(entry)
}
