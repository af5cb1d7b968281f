package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
)

// rooms is what the last survey found of each stream, and of the streams that buckets are: why it would not store a
// message now, or nil.
type rooms struct {
	mu  sync.Mutex
	all map[string]error
}

func (r *rooms) note(stream string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil {
		r.all = map[string]error{}
	}
	r.all[stream] = err
}

// Room returns an error while one of some streams and buckets would not store a message, by the last survey: because it
// is full, has no leader, or can't be asked. The names are those of docs/subjects.md.
func (b *Bus) Room(stores ...string) error {
	b.rooms.mu.Lock()
	defer b.rooms.mu.Unlock()
	var problems []error
	for _, store := range stores {
		name := store
		if _, isStream := b.rooms.all[name]; !isStream {
			name = bucketPrefix + store
		}
		if err := b.rooms.all[name]; err != nil {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

// roomIn says why a stream would store no message.
func (b *Bus) roomIn(info *jetstream.StreamInfo) error {
	name := strings.TrimPrefix(info.Config.Name, bucketPrefix)
	if info.Cluster != nil && info.Cluster.Name != "" && info.Cluster.Leader == "" {
		return fmt.Errorf("%s has no leader: look at the servers of the cluster", name)
	}
	if info.Config.Discard != jetstream.DiscardNew {
		return nil
	}
	if most := info.Config.MaxMsgs; most > 0 && info.State.Msgs >= uint64(most) {
		return fmt.Errorf("%s is full: it has %d messages, as many as it may", name, info.State.Msgs)
	}
	// Of a large stream the last part is kept for what is on its way.
	if most := info.Config.MaxBytes; most > 0 && int64(info.State.Bytes)+min(int64(b.MaxBody()), most/100) >= most {
		return fmt.Errorf("%s is full: it has %d of %d bytes", name, info.State.Bytes, most)
	}
	return nil
}

// Usage is how full a stream is.
type Usage struct {
	// Messages and Bytes are what it holds, and Most is how many bytes it may; 0 is no limit.
	Messages    uint64
	Bytes, Most int64
}

// Usage asks how full a stream is.
func (b *Bus) Usage(ctx context.Context, stream string) (Usage, error) {
	info, err := b.streamInfo(ctx, stream)
	if err != nil {
		return Usage{}, err
	}
	return Usage{Messages: info.State.Msgs, Bytes: int64(info.State.Bytes), Most: max(info.Config.MaxBytes, 0)}, nil
}

// Count is how many messages a stream holds under a filter. The broker looks at each subject under it.
func (b *Bus) Count(ctx context.Context, stream, filter string) (messages uint64, err error) {
	info, err := b.streamInfo(ctx, stream, jetstream.WithSubjectFilter(filter))
	if err != nil {
		return 0, err
	}
	for _, n := range info.State.Subjects {
		messages += n
	}
	return messages, nil
}

func (b *Bus) streamInfo(ctx context.Context, name string, opts ...jetstream.StreamInfoOpt) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, manageTimeout)
	defer cancel()
	stream, err := b.js.Stream(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", name, err)
	}
	info, err := stream.Info(ctx, opts...)
	if err != nil {
		return nil, fmt.Errorf("look at %s: %w", name, err)
	}
	return info, nil
}
