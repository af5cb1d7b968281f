package syncer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/deaditems"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/items"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/runstate"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/contracts"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// session implements contracts.SyncSession: it groups items into batches and hands these to the publishers. What it keeps does not grow with the
// number of items.
type session struct {
	syncer *Syncer
	run    *postgres.Run
	// work is for publications, calling for the provider: it ends first.
	work, calling context.Context
	window        *window
	sealed        chan *parcel
	// largest is how many bytes an item may have, batchBytes how many close a batch: what the broker accepts at present bounds both.
	largest, batchBytes int
	// makers are used again and again, one for each goroutine that hands over.
	makers sync.Pool

	mu      sync.Mutex
	closed  bool
	current *parcel
	opened  time.Time
	repeats *repeats
	total   eventsv1.Total
	// signs counts signs of the provider's life; seen is how many there were at the last look, at the time last: a look at the clock for each item costs as much as
	// copying it.
	signs, seen int64
	last        time.Time
	// looked is last for those that do not hold the lock, in nanoseconds since 1970.
	looked atomic.Int64
	// checker is the provider, if it judges checkpoints. Of those that do not count, odd is the number, and oddity the first.
	checker contracts.CheckpointChecker
	odd     int
	oddity  string
	// guard remembers that an item was refused.
	guard items.Guard
	// aside is where the enumeration goes when it gives its slot away.
	aside *aside
	// waiting is how many of the provider's requests wait in place.
	waiting atomic.Int64
	// told counts the waits in place that were told of.
	told atomic.Int64
}

var _ contracts.SyncSession = (*session)(nil)

// parcel is a batch on its way to the broker.
type parcel struct {
	*wire.Packer
	number  int32
	size    int
	firstAt time.Time
	// dead, when set, is the only item: one that can't travel. It goes to the dead items, for the reason.
	dead        *eventsv1.Item
	reason, why foreign.Text
}

func newSession(work, calling context.Context, s *Syncer, run *postgres.Run, d *bus.Delivery) *session {
	memory, _ := s.repeats.Get().(*repeats)
	memory.start()
	largest := s.Bus.MaxBody() - batchOverhead
	started := &session{
		syncer: s, run: run, work: work, calling: calling, window: newWindow(), sealed: make(chan *parcel),
		largest: largest, batchBytes: min(s.Settings.BatchBytes, largest), repeats: memory, last: s.Now(),
		makers: sync.Pool{New: func() any { return &items.Maker{} }},
		aside:  &aside{places: s.aside, delivery: d, since: time.Now()},
	}
	started.looked.Store(started.last.UnixNano())
	return started
}

func (s *session) Cursor() (contracts.Cursor, bool) {
	if s.run.Mode == runstate.Full || s.run.CursorFrom == nil {
		return nil, false
	}
	return contracts.Cursor(*s.run.CursorFrom), true
}

func (s *session) Dispatch(ctx context.Context, event, checkpoint any, externalID string) error {
	maker, _ := s.makers.Get().(*items.Maker)
	defer s.makers.Put(maker)
	item, unfit, err := maker.Make(event, checkpoint, externalID)
	if err == nil {
		var odd error
		if unfit == nil {
			odd = s.checkCheckpoint(item)
		}
		err = s.take(ctx, item, unfit, odd)
	}
	if err != nil {
		return s.guard.Refuse(err)
	}
	return nil
}

// take puts an item that was dispatched on its way; odd says why its checkpoint does not count.
func (s *session) take(ctx context.Context, item *eventsv1.Item, unfit, odd error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.guard.Ended(); err != nil {
		return err
	}
	if err := errors.Join(ctx.Err(), context.Cause(s.calling)); err != nil {
		return err
	}
	s.signs++
	if errors.Is(unfit, foreign.ErrUnstorable) {
		return s.bury(item, deaditems.Invalid, foreign.Of(unfit))
	}
	if unfit != nil {
		return s.bury(item, deaditems.Unencodable, foreign.Of(unfit))
	}
	s.noteOdd(item, odd)
	if s.repeats.add(item) {
		s.total.Duplicates++
		return nil
	}
	return s.add(item)
}

// add puts an item into the current batch, and seals that when it is full.
func (s *session) add(item *eventsv1.Item) error {
	size := len(item.GetPayload()) + len(item.GetCheckpoint()) + len(item.GetExternalId()) + len(item.GetEventType()) + itemOverhead
	if size > s.largest {
		return s.bury(item, reasonTooLarge, foreign.Of(fmt.Errorf("the item has %d bytes, it may have %d", size, s.largest)))
	}
	if s.current != nil && s.current.size+size > s.batchBytes {
		if err := s.seal(); err != nil {
			return err
		}
	}
	if s.current == nil {
		packer, _ := s.syncer.packers.Get().(*wire.Packer)
		s.current, s.opened = &parcel{Packer: packer, number: s.total.Batches}, s.syncer.Now()
	}
	s.current.Add(item)
	s.current.size += size
	s.total.Items++
	if s.current.Items() >= s.syncer.Settings.BatchItems || s.current.size >= s.batchBytes {
		return s.seal()
	}
	return nil
}

// bury gives an item that can't travel a batch of its own, which goes to the dead without a message.
func (s *session) bury(item *eventsv1.Item, reason, why foreign.Text) error {
	if err := s.seal(); err != nil {
		return err
	}
	s.current = &parcel{number: s.total.Batches, dead: proto.CloneOf(item), reason: reason, why: why}
	s.total.Items++
	return s.seal()
}

// items is how many there are in the current batch.
func (p *parcel) items() int64 {
	if p.dead != nil {
		return 1
	}
	return int64(p.Items())
}

// seal hands the current batch to the publishers, and waits while too much of the run is under way.
func (s *session) seal() error {
	if s.current == nil {
		return nil
	}
	if err := s.window.wait(s.calling, int(s.total.GetBatches()), s.syncer.Settings.Window, s.syncer.Settings.Retrying); err != nil {
		return err
	}
	s.aside.resume()
	// A publisher may be waiting as well, and of two that are ready a select takes any.
	if s.calling.Err() != nil {
		return context.Cause(s.calling)
	}
	s.current.firstAt = s.syncer.Now()
	select {
	case s.sealed <- s.current:
	case <-s.calling.Done():
		return context.Cause(s.calling)
	}
	s.signs++
	s.total.Batches++
	s.current = nil
	return nil
}

// close seals what is left and returns what was handed over. An enumeration that was stopped leaves its last batch out, and is not complete.
func (s *session) close() (*eventsv1.Total, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.seal()
	if err != nil {
		s.total.Items -= s.current.items()
	}
	s.closed = true
	s.syncer.repeats.Put(s.repeats)
	close(s.sealed)
	return &eventsv1.Total{Items: s.total.GetItems(), Batches: s.total.GetBatches(), Duplicates: s.total.GetDuplicates()}, err
}

// lingerLoop seals a batch that waits for more for too long: while a provider reads its next page, the last one is worked on.
func (s *session) lingerLoop(ctx context.Context) {
	ticker := time.NewTicker(s.syncer.Settings.Linger)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		s.mu.Lock()
		if !s.closed && s.current != nil && s.syncer.Now().Sub(s.opened) >= s.syncer.Settings.Linger {
			// An error means that the enumeration is being stopped, which Dispatch will say.
			_ = s.seal()
		}
		s.mu.Unlock()
	}
}

// silentFor is for how long the provider has given no sign of life, as far as looks at it can tell.
func (s *session) silentFor(now time.Time) time.Duration {
	if !s.mu.TryLock() {
		// Somebody is handing over, or is held back by the window: that is not the provider's silence.
		return 0
	}
	defer s.mu.Unlock()
	if s.signs != s.seen || s.waiting.Load() > 0 {
		s.seen, s.last = s.signs, now
		s.looked.Store(now.UnixNano())
	}
	return now.Sub(s.last)
}

// startPublishers takes sealed batches to the broker, a few at a time. The first failure stops the enumeration.
func (s *session) startPublishers(stop context.CancelCauseFunc) *errgroup.Group {
	group := &errgroup.Group{}
	for range s.syncer.Settings.Publishers {
		group.Go(func() error {
			var failed error
			for p := range s.sealed {
				if failed != nil {
					continue
				}
				if failed = s.publish(p); failed != nil {
					stop(failed)
				}
			}
			return failed
		})
	}
	return group
}
