package providertest

import (
	"slices"
	"sync"
	"testing"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// edits changes records while a sync reads, and checks that no version is lost: what a sync did not see must come with the next one, which starts
// from the cursor. A record that was read already is edited first, then one that is still to come, so that the cursor has a reason to pass over the first.
func (k *kit) edits(t *testing.T, provider contracts.IncrementalSync) {
	requests := k.requests(t, provider)
	if requests < 2 {
		t.Log("the fixture's upstream answers everything at once, so that edits between two pages are not tested: give it more records than a page holds")
		return
	}
	for name, enumerate := range map[string]enumerate{"Sync": provider.Sync, "SyncIncremental": provider.SyncIncremental} {
		for _, at := range distinct(2, (requests+2)/2, requests) {
			k.editBefore(t, provider, name, enumerate, at)
		}
	}
}

func (k *kit) editBefore(t *testing.T, provider contracts.IncrementalSync, name string, enumerate enumerate, at int) {
	known := k.full(t, provider)
	session, upstream := &Session{}, k.upstream()
	var once sync.Once
	var edited []Item
	upstream.before = func(n int) *answerer {
		if n >= at {
			once.Do(func() { edited = k.edit(t, known.Items(), session) })
		}
		return nil
	}
	if err := k.run(t, enumerate, session, upstream); err != nil {
		t.Errorf("records were edited before request %d: %s returns %v", at, name, err)
		return
	}
	cursor := reduce(t, provider, session.Checkpoints())
	seen := append(session.Items(), k.since(t, provider, cursor).Items()...)
	lost := 0
	for _, item := range k.full(t, provider).Items() {
		if slices.Contains(seen, item) {
			continue
		}
		what := "another record"
		if slices.ContainsFunc(edited, func(e Item) bool { return e.Event == item.Event && e.ExternalID == item.ExternalID }) {
			what = "its edit"
		}
		if lost++; lost <= 3 {
			t.Errorf("records were edited before request %d of %s: %s %q was not seen as it is now, and the next sync, from %s, passes over it (%s is lost)",
				at, name, item.Event, item.ExternalID, orNone(string(cursor)), what)
		}
	}
}

// edit changes a record that was dispatched already and one that was not.
func (k *kit) edit(t *testing.T, all []Item, session *Session) []Item {
	read := session.Items()
	isRead := func(item Item) bool {
		return slices.ContainsFunc(read, func(r Item) bool { return r.Event == item.Event && r.ExternalID == item.ExternalID })
	}
	var edited []Item
	if len(read) > 0 {
		edited = append(edited, read[len(read)/2])
	}
	if at := slices.IndexFunc(all, func(item Item) bool { return !isRead(item) }); at >= 0 {
		edited = append(edited, all[at])
	} else if len(read) > 1 {
		edited = append(edited, read[len(read)-1])
	}
	for _, item := range edited {
		k.Edit(t, item)
	}
	return edited
}

func distinct(numbers ...int) []int {
	slices.Sort(numbers)
	return slices.Compact(numbers)
}

// side runs syncs side by side with one provider value: state that it keeps shows as a difference, and as a data race where the test looks for these.
func (k *kit) side(t *testing.T, provider contracts.ScheduledSync) {
	const many = 4
	want := k.full(t, provider)
	sessions := make([]*Session, many)
	errs := make([]error, many)
	var group sync.WaitGroup
	for i := range many {
		sessions[i] = &Session{}
		in := k.integration(t, k.upstream())
		group.Go(func() {
			errs[i] = attempt("the sync", func() error { return provider.Sync(k.context(t), in, sessions[i]) }).err
		})
	}
	_ = k.guarded(t, "a sync beside others", func() error { group.Wait(); return nil })
	for i := range many {
		if errs[i] != nil {
			t.Errorf("of %d syncs side by side, one returns %v", many, errs[i])
		} else if d := difference(want.Items(), sessions[i].Items()); d != "" {
			t.Errorf("of %d syncs side by side, one differs from a sync alone: %s; does the provider keep state?", many, d)
		}
	}
}

// late checks that nothing was dispatched after its sync had returned.
func (k *kit) late(t *testing.T) {
	for _, session := range k.sessions {
		if session.late > 0 {
			t.Errorf("%d items were dispatched after their sync had returned: they are lost", session.late)
			return
		}
	}
}
