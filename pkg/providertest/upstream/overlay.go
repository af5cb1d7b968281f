package upstream

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"
)

// edit is what a record has become since the rule made it, or a record that the rule did not make.
type edit struct {
	// key is an issue's number or a comment's id.
	key     int
	created time.Time
	updated time.Time
	title   *string
	body    *string
	state   string
	closed  *time.Time
	// comments are those that were added to an issue.
	comments int
	// issue is the number of a comment's issue.
	issue int
	// raw, when set, is served as it is.
	raw json.RawMessage
	// isPull, for records that the rule did not make.
	isPull bool
}

// overlay holds the edits in the order of updates.
type overlay struct {
	byKey map[int]*edit
	// order may hold edits that a later one has replaced: stale of them.
	order []*edit
	stale int
}

func newOverlay() overlay { return overlay{byKey: map[int]*edit{}} }

func (o *overlay) put(e *edit) {
	if _, ok := o.byKey[e.key]; ok {
		o.stale++
	}
	o.byKey[e.key] = e
	at, _ := slices.BinarySearchFunc(o.order, e, compareEdits)
	o.order = slices.Insert(o.order, at, e)
}

// since are the edits of t and later, in order.
func (o *overlay) since(t time.Time) []*edit {
	if o.stale > 0 {
		o.order = slices.DeleteFunc(o.order, func(e *edit) bool { return o.byKey[e.key] != e })
		o.stale = 0
	}
	at, _ := slices.BinarySearchFunc(o.order, t, func(e *edit, t time.Time) int { return cmp.Or(e.updated.Compare(t), 1) })
	return o.order[at:]
}

func compareEdits(a, b *edit) int {
	return cmp.Or(a.updated.Compare(b.updated), cmp.Compare(a.key, b.key))
}

// gaps counts the positions whose records were edited, and so no longer stand there (a Fenwick tree).
type gaps []int32

func (g gaps) add(position int) {
	for i := position + 1; i < len(g); i += i & -i {
		g[i]++
	}
}

// before is how many gaps there are before a position.
func (g gaps) before(position int) int {
	sum := int32(0)
	for i := min(position, len(g)-1); i > 0; i -= i & -i {
		sum += g[i]
	}
	return int(sum)
}
