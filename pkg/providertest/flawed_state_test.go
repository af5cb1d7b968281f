package providertest_test

import (
	"slices"
	"sync"
)

// state is what a provider should not have.
type state struct {
	// unguarded is counted without the lock.
	unguarded int

	mu      sync.Mutex
	runs    int
	listed  []note
	seen    map[string]bool
	fetched map[string]note
	pending []func()
	kept    string
	// end is never closed.
	end chan struct{}
}

// first keeps the first text, and returns it ever after.
func (s *state) first(text string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept == "" {
		s.kept = text
	}
	return s.kept
}

// begin counts a sync, and runs what an earlier one has left behind.
func (s *state) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs++
	for _, late := range s.pending {
		late()
	}
	s.pending = nil
}

// begun returns how many syncs were begun.
func (s *state) begun() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.runs
}

// leave keeps what to run in the next sync.
func (s *state) leave(late func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending = append(s.pending, late)
}

// list keeps notes, and returns all that were kept.
func (s *state) list(notes ...note) []note {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listed = append(s.listed, notes...)
	return slices.Clone(s.listed)
}

// keep keeps a note for alreadyFetched.
func (s *state) keep(n note) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fetched == nil {
		s.fetched = map[string]note{}
	}
	s.fetched[n.ID] = n
}

// alreadyFetched is a note that was kept.
func (s *state) alreadyFetched(id string) (note, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, ok := s.fetched[id]
	return n, ok
}

// isNew reports whether a key was not seen before, and remembers it.
func (s *state) isNew(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen[key] {
		return false
	}
	s.seen[key] = true
	return true
}
