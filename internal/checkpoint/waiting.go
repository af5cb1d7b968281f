package checkpoint

import (
	"cmp"
	"context"
	"maps"
	"slices"

	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// Waiting is an item that waits for its next hop.
type Waiting struct {
	Batch, Index int32
	// Why is the error of its last try, or what it waits for. It is empty, and Wait nil, where the item was handed on
	// by an older worker.
	Why  string
	Wait *eventsv1.Wait
}

// Waiting returns the entries that tell of items which wait: of as many as there are, or of about that many.
func (p *Progress) Waiting(run string, attempt int32, most int) []Key {
	var keys []Key
	items := 0
	for _, number := range slices.Sorted(maps.Keys(p.open)) {
		batch, waiting := p.open[number], 0
		for _, state := range batch.states {
			if state == eventsv1.OutcomeState_OUTCOME_STATE_RETRYING {
				waiting++
			}
		}
		if waiting == 0 {
			continue
		}
		keys = append(keys, Key{Run: run, Attempt: attempt, Batch: number, Index: First})
		for _, index := range batch.hops {
			keys = append(keys, Key{Run: run, Attempt: attempt, Batch: number, Index: index})
		}
		if items += waiting; items >= most || len(keys) >= most {
			break
		}
	}
	return keys
}

// ReadWaiting reads entries and returns the items that wait, those that are due first, up to a number.
func (s *Store) ReadWaiting(ctx context.Context, keys []Key, most int) ([]Waiting, error) {
	type place struct{ batch, index int32 }
	newest := map[place]*eventsv1.Outcome{}
	for _, key := range keys {
		entry, err := s.Read(ctx, key)
		if err != nil {
			return nil, err
		}
		for index := range States(entry) {
			at, outcome := place{key.Batch, index}, Find(entry, index)
			if newest[at] == nil || beats(outcome, newest[at]) {
				newest[at] = outcome
			}
		}
	}
	var waiting []Waiting
	for at, outcome := range newest {
		if outcome.GetState() == eventsv1.OutcomeState_OUTCOME_STATE_RETRYING {
			waiting = append(waiting, Waiting{Batch: at.batch, Index: at.index, Why: outcome.GetReason(), Wait: outcome.GetWait()})
		}
	}
	slices.SortFunc(waiting, func(a, b Waiting) int {
		return cmp.Or(cmp.Compare(a.Wait.GetUntil(), b.Wait.GetUntil()), cmp.Compare(a.Batch, b.Batch), cmp.Compare(a.Index, b.Index))
	})
	return waiting[:min(len(waiting), most)], nil
}
