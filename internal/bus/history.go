package bus

import (
	"sync"
	"time"
)

// histories are what this process has seen of streams, and of the streams that buckets are. A stream that was made anew, or that lacks messages which it had, has
// another history: sequences and revisions are given out a second time, and what was learned before is worth nothing.
type histories struct {
	mu  sync.Mutex
	all map[string]*history
}

type history struct {
	created time.Time
	// last is the highest sequence that was seen.
	last uint64
	// asked is the broker's time when the stream was surveyed last.
	asked time.Time
	// epoch counts the changes of the history, and changed is closed by the next.
	epoch   uint64
	changed chan struct{}
}

// of returns the history of a stream. The caller holds the lock.
func (h *histories) of(stream string) *history {
	if h.all == nil {
		h.all = map[string]*history{}
	}
	found := h.all[stream]
	if found == nil {
		found = &history{changed: make(chan struct{})}
		h.all[stream] = found
	}
	return found
}

// saw notes that a stream has had a sequence.
func (h *histories) saw(stream string, sequence uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	one := h.of(stream)
	one.last = max(one.last, sequence)
}

// last is the highest sequence that was seen. It is read before the broker is asked, so that what is stored meanwhile is not missed in the answer.
func (h *histories) last(stream string) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.of(stream).last
}

// look notes when a stream was surveyed, and returns when it was before that.
func (h *histories) look(stream string, at time.Time) (before time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	one := h.of(stream)
	before, one.asked = one.asked, at
	return before
}

// epoch is how often the history of a stream was found to be another; changed is closed when that happens again.
func (h *histories) epoch(stream string) (epoch uint64, changed <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	one := h.of(stream)
	return one.epoch, one.changed
}

// compare takes the broker's answer about a stream: when it was created, and its last sequence, beside what was seen when it was asked. It returns how the history
// differs, or nothing.
func (h *histories) compare(stream string, created time.Time, last, seen uint64) LossKind {
	h.mu.Lock()
	defer h.mu.Unlock()
	one := h.of(stream)
	kind := LossKind("")
	switch {
	case one.created.IsZero():
	case !one.created.Equal(created):
		kind = MadeAnew
	case last < seen:
		kind = WentBack
	}
	one.created = created
	if kind == "" {
		one.last = max(one.last, last)
		return ""
	}
	one.last = last
	one.epoch++
	close(one.changed)
	one.changed = make(chan struct{})
	return kind
}

// session names the time within which sequences and revisions of a stream keep their meaning, as far as this process can tell: until the connection breaks, for the
// server may come back with an older store, or until the stream is seen to have another history. It only grows.
func (b *Bus) session(stream string) uint64 {
	epoch, _ := b.histories.epoch(stream)
	return b.nc.Stats().Reconnects + epoch
}

// Session is the session of a bucket. A revision from an earlier one may stand for another value.
func (b *Bus) Session(bucket string) uint64 { return b.session(bucketPrefix + bucket) }

// Changed is closed when the bucket is seen to have been made anew, or to have gone back.
func (b *Bus) Changed(bucket string) <-chan struct{} {
	_, changed := b.histories.epoch(bucketPrefix + bucket)
	return changed
}
