package syncer

import (
	"hash/maphash"

	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// repeats remembers the newest version of each of the records that were handed over last, about 65,000 of them in a megabyte: far more than there are on the
// neighbouring pages where records come twice because an upstream's list has moved. So its memory does not grow with the number of items; a copy that comes long
// after its original is handed over a second time, as any item may be.
//
// A record and its version are hashes of 64 bits each, whose seeds belong to one enumeration. What another one has left behind is noise, and needs no clearing.
type repeats struct {
	types, ids, checkpoints, payloads maphash.Seed
	*shelves
}

// shelves are found by a record's hash, and are in order of arrival: the oldest record of a full one makes room. That a record is forgotten before a thousand others
// have come has a chance of one in a million millions.
type shelves [1 << 13][8]version

// version is how a record looked. A record is never zero.
type version struct{ record, content uint64 }

// start forgets everything.
func (r *repeats) start() {
	r.types, r.ids, r.checkpoints, r.payloads = maphash.MakeSeed(), maphash.MakeSeed(), maphash.MakeSeed(), maphash.MakeSeed()
}

// add reports whether the newest version known of a record is the very same as this, which is the newest from then on. A record that changes and changes back comes
// as three versions: its handlers must end with the last.
func (r *repeats) add(item *eventsv1.Item) bool {
	if item.GetExternalId() == "" {
		return false
	}
	v := version{
		record:  1 | maphash.String(r.types, item.GetEventType()) ^ maphash.String(r.ids, item.GetExternalId()),
		content: maphash.Bytes(r.checkpoints, item.GetCheckpoint()) ^ maphash.Bytes(r.payloads, item.GetPayload()),
	}
	shelf := &r.shelves[v.record>>51]
	for i := range shelf {
		if shelf[i].record == v.record {
			same := shelf[i].content == v.content
			shelf[i] = v
			return same
		}
	}
	copy(shelf[1:], shelf[:])
	shelf[0] = v
	return false
}
