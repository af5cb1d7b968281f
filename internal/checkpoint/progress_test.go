package checkpoint_test

import (
	"runtime"
	"testing"

	"pgregory.net/rapid"

	"github.com/tributaryhq/tributary/internal/checkpoint"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// model is what Progress says, put simply: the furthest state of every item of every batch.
type model struct {
	total *eventsv1.Total
	sizes map[int32]int32
	items map[int32]map[int32]eventsv1.OutcomeState
	// reasons are those of skipped items, by batch and index.
	reasons map[[2]int32]string
}

func newModel() *model {
	return &model{sizes: map[int32]int32{}, items: map[int32]map[int32]eventsv1.OutcomeState{}, reasons: map[[2]int32]string{}}
}

func (m *model) apply(u checkpoint.Update) {
	if u.Total != nil {
		m.total = u.Total
		return
	}
	if u.Key.Index == checkpoint.First {
		m.sizes[u.Key.Batch] = max(m.sizes[u.Key.Batch], u.Entry.GetSize())
	}
	for index := range int32(8) {
		if o := checkpoint.Find(u.Entry, index); o != nil {
			if m.items[u.Key.Batch] == nil {
				m.items[u.Key.Batch] = map[int32]eventsv1.OutcomeState{}
			}
			m.items[u.Key.Batch][index] = max(m.items[u.Key.Batch][index], o.GetState())
			if o.GetState() == skipped {
				m.reasons[[2]int32{u.Key.Batch, index}] = o.GetReason()
			}
		}
	}
}

// answers are all that Progress can be asked.
type answers struct {
	Complete            bool
	WorkedOff, Retrying int
	Items               int64
	Counts              checkpoint.Counts
	Skips               string
}

func (m *model) answers() answers {
	var a answers
	var batches, ended int64
	for batch, size := range m.sizes {
		var finished, handedOver int32
		for _, state := range m.items[batch] {
			finished += one(state >= dead)
			handedOver += one(state >= retrying)
		}
		if size > 0 && handedOver == size {
			a.WorkedOff++
		}
		if size > 0 && finished == size {
			batches++
			ended += int64(size)
		}
		a.Items += int64(size)
	}
	for _, items := range m.items {
		for _, state := range items {
			a.Counts.Done += int64(one(state == done))
			a.Counts.Skipped += int64(one(state == skipped))
			a.Counts.Dead += int64(one(state == dead))
			a.Counts.Retrying += int64(one(state == retrying))
		}
	}
	var skips checkpoint.Reasons
	for _, reason := range m.reasons {
		skips.Add(reason)
	}
	a.Skips = listed(skips)
	a.Retrying = int(a.Counts.Retrying)
	if m.total != nil {
		a.Items = m.total.GetItems()
	}
	a.Complete = m.total != nil && batches == int64(m.total.GetBatches()) && ended == m.total.GetItems()
	return a
}

func one(b bool) int32 {
	if b {
		return 1
	}
	return 0
}

func ask(p *checkpoint.Progress) answers {
	return answers{Complete: p.Complete(), WorkedOff: p.WorkedOff(), Retrying: p.Retrying(), Items: p.Items(), Counts: p.Counts(), Skips: listed(p.Skips())}
}

// history draws the updates of an attempt as workers write them, one key after the other in its order: what a batch's message and its hops have come to.
func history(t *rapid.T) (updates []checkpoint.Update, total *eventsv1.Total) {
	total = &eventsv1.Total{Batches: rapid.Int32Range(0, 4).Draw(t, "batches")}
	for batch := range total.GetBatches() {
		size := rapid.Int32Range(1, 4).Draw(t, "size")
		total.Items += int64(size)
		first := &eventsv1.Entry{Size: size}
		for index := range size {
			end := rapid.SampledFrom([]eventsv1.OutcomeState{dead, skipped, done}).Draw(t, "end")
			hops := rapid.Int32Range(0, 2).Draw(t, "hops")
			hop := checkpoint.Key{Run: "r", Attempt: 1, Batch: batch, Index: index}
			state := end
			if hops > 0 {
				state = retrying
			}
			if rapid.Bool().Draw(t, "marked") {
				updates = append(updates, update(checkpoint.Key{Run: "r", Attempt: 1, Batch: batch, Index: checkpoint.First}, size, index, running))
			}
			news := &eventsv1.Entry{Outcomes: []*eventsv1.Outcome{{Index: index, State: state, Hop: min(hops, 1)}}}
			reason := rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "reason")
			if state == skipped {
				news.Outcomes[0].Reason = reason
			}
			if state == done && rapid.Bool().Draw(t, "in one bit") {
				news = &eventsv1.Entry{}
				checkpoint.MarkDone(news, index)
			}
			first = join(first, news)
			updates = append(updates, checkpoint.Update{Key: checkpoint.Key{Run: "r", Attempt: 1, Batch: batch, Index: checkpoint.First}, Entry: first})
			if hops == 2 {
				updates = append(updates, update(hop, 0, index, retrying))
			}
			if hops > 0 {
				last := update(hop, 0, index, end)
				if end == skipped {
					last.Entry.Outcomes[0].Reason = reason
				}
				updates = append(updates, last)
			}
		}
	}
	return append(updates, checkpoint.Update{Key: checkpoint.Key{Run: "r", Attempt: 1}, Total: total}), total
}

func update(key checkpoint.Key, size, index int32, state eventsv1.OutcomeState) checkpoint.Update {
	return checkpoint.Update{Key: key, Entry: &eventsv1.Entry{Size: size, Outcomes: []*eventsv1.Outcome{{Index: index, State: state}}}}
}

func TestProgressIsTheModelInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		updates, _ := history(t)
		// Any order, some of it twice, some of it never.
		told := rapid.SliceOfN(rapid.SampledFrom(updates), 0, 3*len(updates)).Draw(t, "told")
		told = append(told, rapid.Permutation(updates).Draw(t, "rest")[:rapid.IntRange(0, len(updates)).Draw(t, "of the rest")]...)
		var p checkpoint.Progress
		m := newModel()
		for i, u := range told {
			p.Apply(u)
			m.apply(u)
			if want, got := m.answers(), ask(&p); want != got {
				t.Fatalf("after %d updates: %+v, want %+v", i+1, got, want)
			}
		}
	})
}

func TestProgressCompletesOnlyWithEverything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		updates, total := history(t)
		missing := rapid.IntRange(0, len(updates)-1).Draw(t, "missing")
		var p checkpoint.Progress
		m := newModel()
		for i, u := range updates {
			if i != missing {
				p.Apply(u)
				m.apply(u)
			}
		}
		if p.Complete() != m.answers().Complete {
			t.Fatalf("complete is %t without update %d", p.Complete(), missing)
		}
		if missing == len(updates)-1 && p.Complete() {
			t.Fatal("complete without a total")
		}
		p.Apply(updates[missing])
		if !p.Complete() || p.Counts().Finished() != total.GetItems() {
			t.Fatalf("not complete with everything: %+v of %v", ask(&p), total)
		}
	})
}

func TestProgressOfOddEntries(t *testing.T) {
	first := checkpoint.Key{Run: "r", Attempt: 1, Index: checkpoint.First}
	total := checkpoint.Update{Total: &eventsv1.Total{Items: 2, Batches: 1}}
	tests := []struct {
		name     string
		updates  []checkpoint.Update
		complete bool
	}{
		{"whole", []checkpoint.Update{total, update(first, 2, 0, done), update(first, 2, 1, done)}, true},
		{"nothing but a total", []checkpoint.Update{total}, false},
		{"an empty run", []checkpoint.Update{{Total: &eventsv1.Total{}}}, true},
		{"an empty run with an entry", []checkpoint.Update{{Total: &eventsv1.Total{}}, update(first, 2, 0, running)}, false},
		{"without a size", []checkpoint.Update{total, update(first, 0, 0, done), update(first, 0, 1, done)}, false},
		{"an index beyond the size", []checkpoint.Update{total, update(first, 2, 0, done), update(first, 2, 2, done)}, false},
		{"a negative index", []checkpoint.Update{total, update(first, 2, 0, done), update(first, 2, -1, done)}, false},
		{"a garbled index", []checkpoint.Update{total, update(first, 2, 0, done), update(first, 2, 1<<31-1, done)}, false},
		{"another batch than the total has", []checkpoint.Update{
			total, update(first, 2, 0, done), update(first, 2, 1, done), update(checkpoint.Key{Batch: 1, Index: checkpoint.First}, 1, 0, done),
		}, false},
		{"neither entry nor total", []checkpoint.Update{total, {Key: first}}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var p checkpoint.Progress
			for _, u := range tt.updates {
				p.Apply(u)
			}
			if p.Complete() != tt.complete {
				t.Errorf("complete is %t, want %t", p.Complete(), tt.complete)
			}
		})
	}
}

// TestProgressOfABatchThatBecomesWhole has a batch seen item by item before its first message tells that all are done:
// no item counts twice.
func TestProgressOfABatchThatBecomesWhole(t *testing.T) {
	first := checkpoint.Key{Run: "r", Attempt: 1, Index: checkpoint.First}
	for _, before := range []eventsv1.OutcomeState{running, retrying} {
		var p checkpoint.Progress
		p.Apply(update(first, 2, 0, before))
		p.Apply(update(first, 2, 1, before))
		p.Apply(checkpoint.Update{Key: first, Entry: join(update(first, 2, 0, done).Entry, update(first, 2, 1, done).Entry)})
		want := answers{WorkedOff: 1, Items: 2, Counts: checkpoint.Counts{Done: 2}}
		if got := ask(&p); got != want {
			t.Errorf("whole after %s: %+v, want %+v", before, got, want)
		}
	}
}

// The syncer and the scheduler keep a Progress for every open run, however many items it has.
func TestProgressOfAMillionItemsIsSmall(t *testing.T) {
	const batches, size, most = 4000, 256, 64 << 10
	full := &eventsv1.Entry{Size: size}
	for index := range int32(size) {
		full.Outcomes = append(full.Outcomes, &eventsv1.Outcome{Index: index, State: done})
	}
	var before, after runtime.MemStats
	var p checkpoint.Progress
	runtime.GC()
	runtime.ReadMemStats(&before)
	for batch := range int32(batches) {
		p.Apply(checkpoint.Update{Key: checkpoint.Key{Batch: batch, Index: checkpoint.First}, Entry: full})
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > most {
		t.Errorf("a run of %d items takes %d bytes, want at most %d", batches*size, grown, most)
	}
	if p.Counts().Finished() != batches*size {
		t.Errorf("%d items are finished, want %d", p.Counts().Finished(), batches*size)
	}
	runtime.KeepAlive(&p)
}
