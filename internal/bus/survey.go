package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tributaryhq/tributary/internal/watchdog"
	"github.com/tributaryhq/tributary/internal/wire"
)

// surveyEvery is the interval between surveys: how long something that was made anew behind everybody's back may go unnoticed.
const surveyEvery = 5 * time.Second

// LossKind is what happened to a stream or a bucket.
type LossKind string

// The kinds of losses.
const (
	// MadeAnew means that it was deleted and made again. What it held is gone.
	MadeAnew LossKind = "made anew"
	// WentBack means that it lacks messages that it had, as after an earlier store was put back. Their sequences are given out again.
	WentBack LossKind = "went back"
)

// Loss is a stream or a bucket with another history than before.
type Loss struct {
	// Store is the name of the stream or of the bucket, as in docs/subjects.md.
	Store string
	Kind  LossKind
	// At is the broker's time at which the present history began, or that of the survey.
	At time.Time
	// Seen is the broker's time at which this process last saw the history before. Other processes notice the same loss
	// after it.
	Seen time.Time
	// Had and Has are the last sequences before and now.
	Had, Has uint64
}

// Survey looks at every stream, bucket and consumer in use at an interval, after each reconnection, and when a call found one missing. What is missing is made again. What has
// another history than before is told, and whatever follows it starts over. It calls lost with what one survey found, unless that is nothing, and returns when ctx ends.
func (b *Bus) Survey(ctx context.Context, lost func([]Loss)) error {
	back := b.nc.StatusChanged(nats.CONNECTED)
	defer b.nc.RemoveStatusListener(back)
	ticks := time.NewTicker(surveyEvery)
	defer ticks.Stop()
	for {
		_ = watchdog.Step(ctx, "survey streams, buckets and consumers", func(ctx context.Context) error {
			if found := b.survey(ctx); len(found) > 0 {
				lost(found)
			}
			return nil
		})
		b.surveyed.Add(1)
		select {
		case <-ctx.Done():
			return nil
		case <-ticks.C:
		case <-back:
		case <-b.missed:
		}
	}
}

// survey looks at everything once, side by side: a stream without a leader answers late. What can't be asked is asked
// next time.
func (b *Bus) survey(ctx context.Context) (found []Loss) {
	configs := b.streams()
	losses, problems := make([]*Loss, len(configs)), make([]error, len(configs)+1)
	var looks sync.WaitGroup
	for i, config := range configs {
		looks.Go(func() { losses[i], problems[i] = b.surveyStream(ctx, config) })
	}
	looks.Wait()
	for _, loss := range losses {
		if loss != nil {
			found = append(found, *loss)
		}
	}
	if ctx.Err() != nil || !b.nc.IsConnected() {
		return found
	}
	problems[len(configs)] = b.surveyConsumers(ctx)
	if err := errors.Join(problems...); err != nil && ctx.Err() == nil {
		b.log.Debug("not everything could be surveyed", "error", err)
	}
	return found
}

func (b *Bus) surveyStream(ctx context.Context, config jetstream.StreamConfig) (*Loss, error) {
	ctx, cancel := context.WithTimeout(ctx, manageTimeout)
	defer cancel()
	had := b.histories.last(config.Name)
	stream, err := b.js.Stream(ctx, config.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if err = b.applyStream(ctx, config); err == nil {
			stream, err = b.js.Stream(ctx, config.Name)
		}
	}
	if err != nil {
		err = fmt.Errorf("look at %s: %w", strings.TrimPrefix(config.Name, bucketPrefix), err)
		b.rooms.note(config.Name, err)
		return nil, err
	}
	info := stream.CachedInfo()
	mending := b.mendStream(ctx, config, info.Config)
	b.rooms.note(config.Name, errors.Join(b.roomIn(info), mending))
	asked := info.TimeStamp
	if asked.IsZero() {
		asked = b.now()
	}
	seen := b.histories.look(config.Name, asked)
	kind := b.histories.compare(config.Name, info.Created, info.State.LastSeq, had)
	if kind == "" {
		return nil, nil
	}
	loss := &Loss{Store: strings.TrimPrefix(config.Name, bucketPrefix), Kind: kind, At: info.Created, Seen: seen, Had: had, Has: info.State.LastSeq}
	if kind == MadeAnew {
		b.log.Warn("a stream or bucket was deleted and made anew; whatever follows it starts over", "store", loss.Store, "created", info.Created)
		return loss, nil
	}
	loss.At = asked
	b.log.Error("NATS went back to an earlier state; messages under way are dropped, and whatever follows it starts over",
		"store", loss.Store, "had_sequence", had, "has_sequence", info.State.LastSeq)
	return loss, nil
}

// streams are the configurations of all streams, and of those that are buckets.
func (b *Bus) streams() []jetstream.StreamConfig {
	all := wire.Streams(b.replicas)
	for i := range all {
		if all[i].Name == wire.StreamWebhooks && b.backlog > 0 {
			all[i].MaxBytes = b.backlog
		}
	}
	for _, config := range wire.Buckets(b.replicas, b.timing) {
		all = append(all, bucketStream(config))
	}
	return all
}

// miss has the next survey begin at once.
func (b *Bus) miss() {
	select {
	case b.missed <- struct{}{}:
	default:
	}
}
