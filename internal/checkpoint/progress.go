package checkpoint

import (
	"slices"

	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// MaxIndex is more than a batch can have items; it keeps a garbled entry from taking all memory.
const MaxIndex = 1 << 20

// Progress is how far an attempt has come, put together from its updates in any order. Its memory is one bit for each finished batch and four bytes
// for each item of the others. The zero value is ready.
type Progress struct {
	total    *eventsv1.Total
	open     map[int32]*openBatch
	finished []uint64
	// batches and items count finished batches and their items; handedOver counts open batches that are worked off but for retries.
	batches, items int64
	handedOver     int
	// known is the number of items of the batches whose size is known.
	known int64
	// states counts the items of all batches by their state.
	states Counts
	// skips counts the skipped items of all batches by their reason.
	skips Reasons
}

// Counts is how many items are in which state. Items that no worker has reported on yet are in none.
type Counts struct{ Done, Skipped, Dead, Retrying int64 }

// Finished is the number of items to which nothing more happens in their run.
func (c Counts) Finished() int64 { return c.Done + c.Skipped + c.Dead }

// add counts n items more in a state.
func (c *Counts) add(state eventsv1.OutcomeState, n int64) {
	switch state {
	case eventsv1.OutcomeState_OUTCOME_STATE_DONE:
		c.Done += n
	case eventsv1.OutcomeState_OUTCOME_STATE_SKIPPED:
		c.Skipped += n
	case eventsv1.OutcomeState_OUTCOME_STATE_DEAD:
		c.Dead += n
	case eventsv1.OutcomeState_OUTCOME_STATE_RETRYING:
		c.Retrying += n
	case eventsv1.OutcomeState_OUTCOME_STATE_UNSPECIFIED, eventsv1.OutcomeState_OUTCOME_STATE_RUNNING:
	}
}

type openBatch struct {
	size   int32
	states []eventsv1.OutcomeState
	// reasons are the places in skips of items that were skipped with a reason.
	reasons              map[int32]uint8
	finished, handedOver int32
	// hops are the indexes of the entries of messages that brought items again.
	hops []int32
}

// Apply takes one update in.
func (p *Progress) Apply(u Update) {
	if u.Total != nil {
		p.total = u.Total
		return
	}
	if u.Entry == nil || p.isFinished(u.Key.Batch) {
		return
	}
	if u.Key.Index == First && AllDone(u.Entry) {
		p.finishWhole(u.Key.Batch, u.Entry.GetSize())
		return
	}
	batch := p.batch(u.Key.Batch)
	handedOver := count(batch.isHandedOver())
	if u.Key.Index == First && u.Entry.GetSize() > batch.size {
		p.known += int64(u.Entry.GetSize() - batch.size)
		batch.size = u.Entry.GetSize()
	}
	if u.Key.Index != First && !slices.Contains(batch.hops, u.Key.Index) {
		batch.hops = append(batch.hops, u.Key.Index)
	}
	for index, state := range States(u.Entry) {
		if old, raised := batch.raise(index, state); raised {
			p.states.add(old, -1)
			p.states.add(state, 1)
			p.noteReason(batch, u.Entry, index, state)
		}
	}
	if batch.isFinished() {
		p.finish(u.Key.Batch, batch)
		p.handedOver -= int(handedOver)
		return
	}
	p.handedOver += int(count(batch.isHandedOver()) - handedOver)
}

// noteReason counts why an item was skipped. One that is done after all was not.
func (p *Progress) noteReason(batch *openBatch, entry *eventsv1.Entry, index int32, state eventsv1.OutcomeState) {
	p.skips.remove(batch.reasons[index])
	delete(batch.reasons, index)
	if state != eventsv1.OutcomeState_OUTCOME_STATE_SKIPPED {
		return
	}
	if place := p.skips.add(Find(entry, index).GetReason()); place > 0 {
		if batch.reasons == nil {
			batch.reasons = map[int32]uint8{}
		}
		batch.reasons[index] = place
	}
}

// WorkedOff is the number of batches that workers are done with, but for items that wait for another hop.
func (p *Progress) WorkedOff() int { return int(p.batches) + p.handedOver }

// Retrying is the number of items that wait for another hop.
func (p *Progress) Retrying() int { return int(p.states.Retrying) }

// Counts are the numbers of items by their state, whether or not the rest of their batch is finished.
func (p *Progress) Counts() Counts { return p.states }

// Skips are the reasons for which items were skipped.
func (p *Progress) Skips() Reasons { return Reasons{counts: slices.Clone(p.skips.counts)} }

// Items is how many items the attempt has: the total once it is known, and before that the items of all batches seen.
func (p *Progress) Items() int64 {
	if p.total != nil {
		return p.total.GetItems()
	}
	return p.known
}

// Total is the attempt's total, nil until it is known.
func (p *Progress) Total() *eventsv1.Total { return p.total }

// Complete reports whether the total is known and every item is finished. Anything missing makes it false.
func (p *Progress) Complete() bool {
	return p.total != nil && len(p.open) == 0 && p.batches == int64(p.total.GetBatches()) && p.items == p.total.GetItems()
}

func (p *Progress) batch(number int32) *openBatch {
	if p.open == nil {
		p.open = map[int32]*openBatch{}
	}
	if p.open[number] == nil {
		p.open[number] = &openBatch{}
	}
	return p.open[number]
}

func (p *Progress) finish(number int32, batch *openBatch) {
	delete(p.open, number)
	word := int(number) / 64
	for len(p.finished) <= word {
		p.finished = append(p.finished, 0)
	}
	p.finished[word] |= 1 << (number % 64)
	p.batches++
	p.items += int64(batch.size)
}

// finishWhole finishes a batch with all items done, as most are when they are first told of: then nothing was kept of it.
func (p *Progress) finishWhole(number, size int32) {
	if batch := p.open[number]; batch != nil {
		for _, state := range batch.states {
			p.states.add(state, -1)
		}
		for _, place := range batch.reasons {
			p.skips.remove(place)
		}
		p.known -= int64(batch.size)
		p.handedOver -= int(count(batch.isHandedOver()))
	}
	p.known += int64(size)
	p.states.Done += int64(size)
	p.finish(number, &openBatch{size: size})
}

func (p *Progress) isFinished(number int32) bool {
	word := int(number) / 64
	return word < len(p.finished) && p.finished[word]&(1<<(number%64)) != 0
}

// isHandedOver and isFinished are false while an item is missing, and for a batch that has more items than its size says.
func (b *openBatch) isHandedOver() bool { return b.isWhole() && b.handedOver == b.size }

func (b *openBatch) isFinished() bool { return b.isWhole() && b.finished == b.size }

func (b *openBatch) isWhole() bool { return b.size > 0 && len(b.states) == int(b.size) }

// raise takes the state of an item if it is further on than the old one, and reports whether it was.
func (b *openBatch) raise(index int32, state eventsv1.OutcomeState) (old eventsv1.OutcomeState, raised bool) {
	if index < 0 || index >= MaxIndex {
		return 0, false
	}
	for int(index) >= len(b.states) {
		b.states = append(b.states, 0)
	}
	old = b.states[index]
	if state <= old {
		return old, false
	}
	b.states[index] = state
	if HandedOver(state) && !HandedOver(old) {
		b.handedOver++
	}
	if Finished(state) && !Finished(old) {
		b.finished++
	}
	return old, true
}

func count(b bool) int32 {
	if b {
		return 1
	}
	return 0
}
