package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// errWatchEnded is why a watch starts over: the broker was away, or its store is gone.
var errWatchEnded = errors.New("the watch ended")

// Watch calls fn with every entry and total there is, then with every change, until ctx ends. caughtUp is called once all that was there
// at the start has been told, again after each interruption, which tells everything anew; it may be nil. An attempt of 0 means all runs.
func (s *Store) Watch(ctx context.Context, run string, attempt int32, fn func(Update), caughtUp func()) error {
	filter := ">"
	if attempt > 0 {
		filter = prefix(run, attempt) + ".>"
	}
	for ctx.Err() == nil {
		err := s.watchOnce(ctx, filter, fn, caughtUp)
		s.bus.Log().Debug("watch of checkpoints starts over", "filter", filter, "error", err)
		s.bus.Restore(ctx, err)
		select {
		case <-ctx.Done():
		case <-time.After(retryEvery):
		}
	}
	return nil
}

// ReadAll tells all entries and the total of an attempt, each as it stands, in no particular order. An error says that not all were told.
func (s *Store) ReadAll(ctx context.Context, run string, attempt int32, fn func(Update)) error {
	err := s.bus.ReadKeys(ctx, events.BucketCheckpoints, prefix(run, attempt), func(key string, value []byte, stored time.Time) {
		s.tell(key, value, stored, fn)
	})
	if err != nil {
		return fmt.Errorf("read checkpoints of run %s: %w", run, err)
	}
	return nil
}

// watchOnce tells everything once, then changes. It ends with the connection: the client would resume a watch only after 10 s, and behind the
// place where it was, which is nowhere when the broker has lost its store.
func (s *Store) watchOnce(ctx context.Context, filter string, fn func(Update), caughtUp func()) error {
	connected, cancel := s.bus.WhileConnected(ctx)
	defer cancel()
	watcher, err := s.bucket.Watch(connected, filter, jetstream.IgnoreDeletes())
	if err != nil {
		return errors.Join(ctx.Err(), errWatchEnded, err)
	}
	defer func() {
		_ = watcher.Stop()
		// The client's goroutine may wait for somebody to take the next update.
		go func() {
			for range watcher.Updates() {
			}
		}()
	}()
	for {
		select {
		case <-connected.Done():
			return errors.Join(ctx.Err(), errWatchEnded)
		case value, ok := <-watcher.Updates():
			if !ok {
				return errors.Join(ctx.Err(), errWatchEnded)
			}
			switch {
			case value != nil:
				s.tell(value.Key(), value.Value(), value.Created(), fn)
			case caughtUp != nil:
				caughtUp()
			}
		}
	}
}

// tell decodes what the bucket has. What can't be read delays its run (a missing entry never completes one), and must not stop the others.
func (s *Store) tell(key string, value []byte, stored time.Time, fn func(Update)) {
	update, err := decode(key, value)
	if err != nil {
		s.bus.Log().Error("checkpoint can't be read", "key", key, "error", err)
		return
	}
	update.At = stored
	fn(update)
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
