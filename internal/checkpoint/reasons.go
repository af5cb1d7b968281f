package checkpoint

import (
	"cmp"
	"slices"

	"github.com/tributaryhq/tributary/internal/foreign"
)

const (
	// MaxReason is how many bytes of a reason are kept for an item.
	MaxReason = 200
	// MaxReasons is how many different reasons are counted. Those that come later count as [OtherReasons].
	MaxReasons = 20
	// OtherReasons stands for all reasons after the first [MaxReasons].
	OtherReasons foreign.Text = "other"
)

// Reason is why items were skipped, and how many of them. It is stored as JSON.
type Reason struct {
	Text  foreign.Text `json:"reason"`
	Items int64        `json:"items"`
}

// Reasons counts items by the reason for which they were skipped. Its size is bounded, whatever handlers say. The zero
// value is ready.
type Reasons struct {
	// counts keep their places, which open batches remember for their items.
	counts []Reason
}

// Add counts one item. A text that is too long is cut, and an empty one is no reason.
func (r *Reasons) Add(text string) { r.add(text) }

// add is Add. It returns the place of the reason, counted from 1; 0 if there is none.
func (r *Reasons) add(text string) uint8 {
	reason := foreign.Clean(text, MaxReason)
	if reason == "" {
		return 0
	}
	at := r.find(reason)
	if at < 0 && len(r.counts) >= MaxReasons {
		reason = OtherReasons
		at = r.find(reason)
	}
	if at < 0 {
		at = len(r.counts)
		r.counts = append(r.counts, Reason{Text: reason})
	}
	r.counts[at].Items++
	return uint8(at + 1)
}

// remove takes an item back that add has counted in a place.
func (r *Reasons) remove(place uint8) {
	if place > 0 {
		r.counts[place-1].Items--
	}
}

func (r *Reasons) find(reason foreign.Text) int {
	return slices.IndexFunc(r.counts, func(c Reason) bool { return c.Text == reason })
}

// List returns the reasons that items have, the most frequent first.
func (r *Reasons) List() []Reason {
	var list []Reason
	for _, c := range r.counts {
		if c.Items > 0 {
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(a, b Reason) int { return cmp.Or(cmp.Compare(b.Items, a.Items), cmp.Compare(a.Text, b.Text)) })
	return list
}
