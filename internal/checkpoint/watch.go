package checkpoint

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/wire"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// Watch calls fn with every entry and total there is, then with every change, until ctx ends. caughtUp is called once all that was there
// at the start has been told, again after each interruption, which tells everything anew; it may be nil. An attempt of 0 means all runs.
func (s *Store) Watch(ctx context.Context, run string, attempt int32, fn func(Update), caughtUp func()) error {
	filter := ">"
	if attempt > 0 {
		filter = prefix(run, attempt) + ".>"
	}
	return s.bus.FollowKeys(ctx, s.bucket, filter, s.telling(fn), caughtUp)
}

// ReadAll tells all entries and the total of an attempt, each as it stands, in no particular order. An error says that not all were told.
func (s *Store) ReadAll(ctx context.Context, run string, attempt int32, fn func(Update)) error {
	err := s.bus.ReadKeys(ctx, wire.BucketCheckpoints, prefix(run, attempt)+".>", s.telling(fn))
	if err != nil {
		return fmt.Errorf("read checkpoints of run %s: %w", run, err)
	}
	return nil
}

// telling decodes what the bucket has. What can't be read delays its run (a missing entry never completes one), and must not stop the others.
func (s *Store) telling(fn func(Update)) func(bus.Value) {
	return func(v bus.Value) {
		if v.Data == nil {
			return
		}
		update, err := decode(v.Key, v.Data)
		if err != nil {
			s.bus.Log().Error("checkpoint can't be read", "key", v.Key, "error", err)
			return
		}
		update.At = v.Stored
		fn(update)
	}
}

func decode(key string, value []byte) (u Update, err error) {
	k, isTotal, err := parseKey(key)
	if err != nil {
		return Update{}, err
	}
	u.Key = k
	if isTotal {
		u.Total = &eventsv1.Total{}
		err = proto.Unmarshal(value, u.Total)
	} else {
		u.Entry = &eventsv1.Entry{}
		err = proto.Unmarshal(value, u.Entry)
	}
	if err != nil {
		return Update{}, fmt.Errorf("decode checkpoint %s: %w", key, err)
	}
	return u, nil
}
