package checkpoint

import (
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// maxIndex is more than a batch can have items; it keeps a garbled entry from taking all memory.
const maxIndex = 1 << 20

// Progress is how far an attempt has come, put together from its updates in any order. Its memory is one bit for each finished batch and four bytes
// for each item of the others. The zero value is ready.
type Progress struct {
	total    *eventsv1.Total
	open     map[int32]*openBatch
	finished []uint64
	// batches, items and dead count what is finished; handedOver counts open batches that are worked off but for retries.
	batches, items, dead int64
	handedOver           int
	retrying             int
}

type openBatch struct {
	size                           int32
	states                         []eventsv1.OutcomeState
	finished, handedOver, retrying int32
	dead                           int64
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
	handedOver, retrying := count(batch.isHandedOver()), batch.retrying
	if u.Key.Index == First {
		batch.size = max(batch.size, u.Entry.GetSize())
	}
	for index, state := range States(u.Entry) {
		batch.apply(index, state)
	}
	p.retrying += int(batch.retrying - retrying)
	if batch.isFinished() {
		p.finish(u.Key.Batch, batch)
		p.handedOver -= int(handedOver)
		return
	}
	p.handedOver += int(count(batch.isHandedOver()) - handedOver)
}

// WorkedOff is the number of batches that workers are done with, but for items that wait for another hop.
func (p *Progress) WorkedOff() int { return int(p.batches) + p.handedOver }

// Retrying is the number of items that wait for another hop.
func (p *Progress) Retrying() int { return p.retrying }

// Finished is the number of items that are done, dead or skipped, in finished batches.
func (p *Progress) Finished() int64 { return p.items }

// Dead is the number of dead items among the finished.
func (p *Progress) Dead() int64 { return p.dead }

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
	p.dead += batch.dead
}

// finishWhole finishes a batch with all items done, as most are when they are first told of: then nothing was kept of it.
func (p *Progress) finishWhole(number, size int32) {
	if batch := p.open[number]; batch != nil {
		p.retrying -= int(batch.retrying)
		p.handedOver -= int(count(batch.isHandedOver()))
	}
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

func (b *openBatch) apply(index int32, state eventsv1.OutcomeState) {
	if index < 0 || index >= maxIndex {
		return
	}
	for int(index) >= len(b.states) {
		b.states = append(b.states, 0)
	}
	old := b.states[index]
	if state <= old {
		return
	}
	b.states[index] = state
	if HandedOver(state) && !HandedOver(old) {
		b.handedOver++
	}
	if Finished(state) && !Finished(old) {
		b.finished++
	}
	b.retrying += count(state == eventsv1.OutcomeState_OUTCOME_STATE_RETRYING) - count(old == eventsv1.OutcomeState_OUTCOME_STATE_RETRYING)
	b.dead += int64(count(state == eventsv1.OutcomeState_OUTCOME_STATE_DEAD) - count(old == eventsv1.OutcomeState_OUTCOME_STATE_DEAD))
}

func count(b bool) int32 {
	if b {
		return 1
	}
	return 0
}
