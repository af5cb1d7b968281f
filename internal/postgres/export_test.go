package postgres

import (
	"context"
	"time"
)

// Shared is what [Store.RunAccepts] asks through.
type Shared struct {
	shared[string, int]
}

// Ask asks.
func (s *Shared) Ask(ctx context.Context, key string, query func(context.Context, string) (int, error)) (int, error) {
	return s.ask(ctx, key, query)
}

// Open is how many questions are not answered.
func (s *Shared) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.put) + len(s.next)
}

// SetRest sets for how long a key is left alone after an answer.
func (s *Shared) SetRest(d time.Duration) { s.rest = d }

// ReadyFor is for how long a writable database is not asked again.
const ReadyFor = readyFor
