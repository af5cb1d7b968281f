package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// errWatchEnded is why a watch starts over: the broker was away, or its store is gone.
var errWatchEnded = errors.New("the watch ended")

// Watch calls fn with every entry and total there is, then with every change, until ctx ends. caughtUp is called once all that was there
// at the start has been told, again after each interruption; it may be nil. An attempt of 0 means all runs.
func (s *Store) Watch(ctx context.Context, run string, attempt int32, fn func(Update), caughtUp func()) error {
	filter := ">"
	if attempt > 0 {
		filter = prefix(run, attempt) + ".>"
	}
	for {
		err := s.watchOnce(ctx, filter, fn, func() bool {
			if caughtUp != nil {
				caughtUp()
			}
			return true
		})
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !errors.Is(err, errWatchEnded) {
			return fmt.Errorf("watch checkpoints: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retryEvery):
		}
	}
}

// Read all entries of an attempt, each as it stands, in no particular order.
func (s *Store) ReadAll(ctx context.Context, run string, attempt int32, fn func(Update)) error {
	err := s.watchOnce(ctx, prefix(run, attempt)+".>", fn, func() bool { return false })
	if err != nil {
		return fmt.Errorf("read checkpoints of run %s: %w", run, err)
	}
	return nil
}

// watchOnce tells everything once, then asks goOn whether to tell changes too.
func (s *Store) watchOnce(ctx context.Context, filter string, fn func(Update), goOn func() bool) error {
	watcher, err := s.bucket.Watch(ctx, filter, jetstream.IgnoreDeletes())
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return errors.Join(errWatchEnded, err)
	}
	defer func() { _ = watcher.Stop() }()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case value, ok := <-watcher.Updates():
			if !ok {
				return errWatchEnded
			}
			if value == nil {
				if !goOn() {
					return nil
				}
				continue
			}
			update, err := decode(value)
			if err != nil {
				return err
			}
			fn(update)
		}
	}
}

func decode(value jetstream.KeyValueEntry) (Update, error) {
	key, isTotal, err := parseKey(value.Key())
	if err != nil {
		return Update{}, err
	}
	u := Update{Key: key}
	if isTotal {
		u.Total = &eventsv1.Total{}
		err = proto.Unmarshal(value.Value(), u.Total)
	} else {
		u.Entry = &eventsv1.Entry{}
		err = proto.Unmarshal(value.Value(), u.Entry)
	}
	if err != nil {
		return Update{}, fmt.Errorf("decode checkpoint %s: %w", value.Key(), err)
	}
	return u, nil
}
