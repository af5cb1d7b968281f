package syncer

import (
	"hash/maphash"

	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// repeatsKept is how many records are remembered at the least: hundreds of pages, where those that an upstream shows twice because its list has moved are on
// neighbouring ones.
const repeatsKept = 1 << 16

// repeats remembers the newest version of each of the records that were handed over last, as hashes of 128 bits. It has two generations: when the young one is
// full, the old one is forgotten. So its memory does not grow with the number of items; a copy that comes long after its original is handed over a second time, as
// any item may be.
type repeats struct {
	// types, ids, checkpoints and payloads make the hashes independent of one another, so that they can be joined.
	types, ids, checkpoints, payloads maphash.Seed
	// most is how many records make a generation full.
	most       int
	young, old map[uint64]uint64
}

func newRepeats(most int) *repeats {
	return &repeats{
		types: maphash.MakeSeed(), ids: maphash.MakeSeed(), checkpoints: maphash.MakeSeed(), payloads: maphash.MakeSeed(), most: most, young: map[uint64]uint64{},
	}
}

// add reports whether the newest version known of a record is the very same as this, which is the newest from then on. A record that changes and changes back comes
// as three versions: its handlers must end with the last.
func (r *repeats) add(item *eventsv1.Item) bool {
	if item.GetExternalId() == "" {
		return false
	}
	id := maphash.String(r.types, item.GetEventType()) ^ maphash.String(r.ids, item.GetExternalId())
	version := maphash.Bytes(r.checkpoints, item.GetCheckpoint()) ^ maphash.Bytes(r.payloads, item.GetPayload())
	previous, found := r.young[id]
	if !found {
		previous, found = r.old[id]
		if len(r.young) >= r.most {
			r.turn()
		}
		r.young[id] = version
	} else if previous != version {
		r.young[id] = version
	}
	return found && previous == version
}

// turn makes the young generation the old one, and an empty one of what was the old.
func (r *repeats) turn() {
	empty := r.old
	if empty == nil {
		empty = make(map[uint64]uint64, r.most)
	}
	clear(empty)
	r.young, r.old = empty, r.young
}
