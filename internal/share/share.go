// Package share divides a resource among those who want all of it, such as the clients of a server or the providers of
// a process.
package share

import (
	"context"
	"sync"
)

// Share divides a resource among keys. A key may hold as much as is free after it has taken: alone half of the
// resource, and one of n greedy keys 1/(n+1) of it. So there is always room for the next key, without a quota for each.
// The zero key has no share and may take everything.
type Share[Key comparable] struct {
	mu   sync.Mutex
	free int64
	held map[Key]int64
	// given is closed when units are given back, if somebody waits for that.
	given   chan struct{}
	waiting int
}

// New returns a share of a resource that has so many units.
func New[Key comparable](units int64) *Share[Key] {
	return &Share[Key]{free: units, held: map[Key]int64{}, given: make(chan struct{})}
}

// Take takes n units for a key. It returns false when there are not as many, or when the key would hold more than what
// is left free.
func (s *Share[Key]) Take(key Key, n int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.take(key, n)
}

func (s *Share[Key]) take(key Key, n int64) bool {
	var unbound Key
	left := s.free - n
	if left < 0 || key != unbound && s.held[key]+n > max(left, 1) {
		return false
	}
	s.free = left
	s.held[key] += n
	return true
}

// Wait takes n units for a key as soon as it may, and returns false when ctx ends before.
func (s *Share[Key]) Wait(ctx context.Context, key Key, n int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.take(key, n) {
		given := s.given
		s.waiting++
		s.mu.Unlock()
		select {
		case <-given:
		case <-ctx.Done():
		}
		s.mu.Lock()
		s.waiting--
		if ctx.Err() != nil {
			return false
		}
	}
	return true
}

// Give gives n units back.
func (s *Share[Key]) Give(key Key, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free += n
	if s.held[key] -= n; s.held[key] <= 0 {
		delete(s.held, key)
	}
	if s.waiting > 0 {
		close(s.given)
		s.given = make(chan struct{})
	}
}

// Free returns how many units nobody holds.
func (s *Share[Key]) Free() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.free
}
