package providertest

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// sync checks that a sync finds every record once, that the same state enumerates to the same items, and that the reducer agrees with itself about them.
func (k *kit) sync(t *testing.T, provider contracts.ScheduledSync) {
	upstream, first := k.upstream(), &Session{}
	if err := k.run(t, provider.Sync, first, upstream); err != nil {
		t.Fatalf("Sync: %v", err)
	}
	if d := difference(first.Items(), k.full(t, provider).Items()); d != "" {
		t.Errorf("two syncs of the same upstream differ: %s", d)
	}
	if len(first.Items()) == 0 {
		t.Error("the fixture's upstream has no records to enumerate")
	}
	paths, open := upstream.left()
	for _, path := range paths {
		t.Errorf("the last answer to %s names a next page, which the sync never asks for", path)
	}
	if open > 0 {
		t.Errorf("%d bodies of answers are never closed: each holds a connection", open)
	}
	k.items(t, first.Items())
	k.reducer(t, provider, first)
}

// items checks what the items of a quiet upstream say.
func (k *kit) items(t *testing.T, items []Item) {
	seen := map[[2]string]Item{}
	found := map[string]bool{}
	for _, item := range items {
		found[item.ExternalID] = true
		if isUnnamed(item.Event) {
			t.Errorf("the event type is %q, by which no handler can be found: dispatch a struct type of yours", item.Event)
			break
		}
		k.noSecret(t, "the event of item "+strconv.Quote(item.ExternalID), item.Payload)
		key := [2]string{item.Event, item.ExternalID}
		if other, ok := seen[key]; ok && item.ExternalID != "" {
			t.Errorf("%s %q was dispatched twice, as %.80s and as %.80s: does the external id name one record?", item.Event, item.ExternalID, other.Payload, item.Payload)
			break
		}
		seen[key] = item
	}
	if k.Records == nil {
		return
	}
	want := map[string]bool{}
	for _, id := range k.Records(t) {
		want[id] = true
		if !found[id] {
			t.Errorf("the upstream has the record %q, and the sync does not find it", id)
		}
	}
	for id := range found {
		if !want[id] {
			t.Errorf("the sync finds a record %q, which the upstream does not have", id)
		}
	}
}

// isUnnamed reports whether an event type is not that of a type which the author has named.
func isUnnamed(event string) bool {
	switch event {
	case "", "json.RawMessage", "json.Number", "string", "int", "int64", "float64", "bool":
		return true
	}
	return strings.ContainsAny(event, "[]{} ")
}

// incremental checks that after a full sync only the overlap comes again, and that a change comes through.
func (k *kit) incremental(t *testing.T, provider contracts.IncrementalSync) {
	full := k.full(t, provider)
	cursor := reduce(t, provider, full.Checkpoints())
	if len(cursor) == 0 {
		return // sync has said so
	}
	if d := difference(full.Items(), k.since(t, provider, nil).Items()); d != "" {
		t.Errorf("without a cursor, SyncIncremental differs from Sync: %s", d)
	}
	k.dated(t, provider, full, cursor)
	overlap := k.since(t, provider, cursor).Items()
	for _, item := range overlap {
		if !slices.Contains(full.Items(), item) {
			t.Errorf("nothing changed, but item %s %q of an incremental sync is not as it was", item.Event, item.ExternalID)
		}
	}
	const few = 10
	if n := len(full.Items()); n >= few && len(overlap) >= n {
		k.overlap(t, provider, cursor, n)
	}
	if k.Change == nil {
		return
	}
	id := k.Change(t)
	changed := k.since(t, provider, cursor)
	if !slices.ContainsFunc(changed.Items(), func(i Item) bool { return i.ExternalID == id && !slices.Contains(overlap, i) }) {
		t.Errorf("record %q was changed, but an incremental sync does not have it as it is now", id)
	}
	next := reduce(t, provider, changed.Checkpoints())
	if forward, err := contracts.Advances(provider, cursor, next); err != nil || !forward {
		t.Errorf("after a change the cursor goes from %s to %s, which is not forward (%v)", cursor, orNone(string(next)), err)
	}
}

// dated checks the cursors that are made of a time.
func (k *kit) dated(t *testing.T, provider contracts.IncrementalSync, full *Session, cursor contracts.Cursor) {
	dater, ok := provider.(contracts.CursorDater)
	if !ok {
		return
	}
	early, err := dater.CursorAt(time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC))
	if err != nil {
		t.Errorf("CursorAt: %v", err)
		return
	}
	if d := difference(full.Items(), k.since(t, provider, early).Items()); d != "" {
		t.Errorf("a sync from CursorAt(1990), %s, differs from a full one: %s", early, d)
	}
	if forward, err := contracts.Advances(provider, early, cursor); err != nil || !forward {
		t.Errorf("the cursor %s is not forward of CursorAt(1990), %s (%v)", cursor, early, err)
	}
}

// difference says how two enumerations differ, whatever their order; empty when they don't.
func difference(a, b []Item) string {
	a, b = slices.SortedFunc(slices.Values(a), compareItems), slices.SortedFunc(slices.Values(b), compareItems)
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("%s %q against %s %q, by %s", a[i].Event, a[i].ExternalID, b[i].Event, b[i].ExternalID, differs(a[i], b[i]))
		}
	}
	if len(a) != len(b) {
		return strconv.Itoa(len(a)) + " items against " + strconv.Itoa(len(b))
	}
	return ""
}

func compareItems(a, b Item) int {
	return cmp.Or(cmp.Compare(a.Event, b.Event), cmp.Compare(a.ExternalID, b.ExternalID), cmp.Compare(a.Checkpoint, b.Checkpoint), cmp.Compare(a.Payload, b.Payload))
}
