package upstream

import (
	"iter"
	"slices"
	"time"
)

// shelf is one kind of record: those of the rule, by position, and the edits over them.
type shelf struct {
	size int
	// first is the smallest key that the rule made; the others follow without a gap.
	first  int
	keyAt  func(position int) int
	posOf  func(key int) (position int, ok bool)
	timeAt func(position int) time.Time
	since  func(t time.Time) int

	edits overlay
	gaps  gaps
	// extra are the keys that the rule did not make.
	extra []int
	// hidden are left out of lists.
	hidden map[int]bool
}

// ref is one record: of the rule when edit is nil.
type ref struct {
	key     int
	updated time.Time
	edit    *edit
}

// store is everything that exists.
type store struct {
	issues, comments shelf
	nextComment      int
}

// firstComment is the id of the first comment; ids of comments and issues never meet.
const firstComment = 2_000_000_001

func newStore(r rule) store {
	issues := shelf{
		size: r.issues, first: 1, keyAt: r.numberAt, timeAt: r.timeAt, since: r.since,
		posOf:  func(number int) (int, bool) { return at(r.has(number), func() int { return r.positionOf(number) }) },
		edits:  newOverlay(),
		hidden: map[int]bool{},
	}
	comments := shelf{
		size:   r.comments,
		first:  firstComment,
		keyAt:  func(i int) int { return firstComment + i },
		posOf:  func(id int) (int, bool) { return id - firstComment, firstComment <= id && id < firstComment+r.comments },
		timeAt: func(i int) time.Time { return r.timeAt(i * r.commentEvery) },
		since: func(t time.Time) int {
			if r.commentEvery <= 0 {
				return 0
			}
			return (r.since(t) + r.commentEvery - 1) / r.commentEvery
		},
		edits:  newOverlay(),
		hidden: map[int]bool{},
	}
	return store{issues: issues, comments: comments, nextComment: firstComment + r.comments}
}

func at(ok bool, position func() int) (int, bool) {
	if !ok {
		return 0, false
	}
	return position(), true
}

// put stores an edit in place of what the record was.
func (s *shelf) put(e *edit) {
	if s.edits.byKey[e.key] == nil {
		if position, ok := s.posOf(e.key); ok {
			if s.gaps == nil {
				s.gaps = make(gaps, s.size+1)
			}
			s.gaps.add(position)
		} else {
			where, _ := slices.BinarySearch(s.extra, e.key)
			s.extra = slices.Insert(s.extra, where, e.key)
		}
	}
	s.edits.put(e)
}

// get is the record of a key.
func (s *shelf) get(key int) (ref, bool) {
	if e := s.edits.byKey[key]; e != nil {
		return ref{key: key, updated: e.updated, edit: e}, true
	}
	position, ok := s.posOf(key)
	if !ok {
		return ref{}, false
	}
	return ref{key: key, updated: s.timeAt(position)}, true
}

// count is how many records are of t or later.
func (s *shelf) count(t time.Time) int {
	from := s.since(t)
	n := s.size - from + len(s.edits.since(t))
	if s.gaps != nil {
		n -= s.gaps.before(s.size) - s.gaps.before(from)
	}
	return n
}

// byUpdate yields the records of t and later, oldest update first.
func (s *shelf) byUpdate(t time.Time) iter.Seq[ref] {
	return func(yield func(ref) bool) {
		edits := s.edits.since(t)
		for p := s.since(t); p < s.size || len(edits) > 0; {
			if len(edits) > 0 && (p == s.size || edits[0].updated.Before(s.timeAt(p))) {
				if !yield(ref{key: edits[0].key, updated: edits[0].updated, edit: edits[0]}) {
					return
				}
				edits = edits[1:]
				continue
			}
			key := s.keyAt(p)
			if s.edits.byKey[key] == nil && !yield(ref{key: key, updated: s.timeAt(p)}) {
				return
			}
			p++
		}
	}
}

// byUpdateBack is byUpdate from the end.
func (s *shelf) byUpdateBack(t time.Time) iter.Seq[ref] {
	return func(yield func(ref) bool) {
		edits, from := s.edits.since(t), s.since(t)
		for p := s.size - 1; p >= from || len(edits) > 0; {
			if n := len(edits); n > 0 && (p < from || !edits[n-1].updated.Before(s.timeAt(p))) {
				e := edits[n-1]
				if !yield(ref{key: e.key, updated: e.updated, edit: e}) {
					return
				}
				edits = edits[:n-1]
				continue
			}
			key := s.keyAt(p)
			if s.edits.byKey[key] == nil && !yield(ref{key: key, updated: s.timeAt(p)}) {
				return
			}
			p--
		}
	}
}

// byCreation yields all records in the order of their keys, which is that of their creation.
func (s *shelf) byCreation(isDescending bool) iter.Seq[ref] {
	n := s.size + len(s.extra)
	return func(yield func(ref) bool) {
		for i := range n {
			if isDescending {
				i = n - 1 - i
			}
			key := s.first + i
			if i >= s.size {
				key = s.extra[i-s.size]
			}
			if r, ok := s.get(key); ok && !yield(r) {
				return
			}
		}
	}
}
