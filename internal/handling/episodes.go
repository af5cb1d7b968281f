package handling

import (
	"maps"
	"sync"
	"time"
)

// episodeGap is for how long a trouble has to be unseen, so that it is logged again. It is longer than any wait for its
// end.
const episodeGap = 2 * longestLack

// manyEpisodes is from how many on those that are over are forgotten.
const manyEpisodes = 1024

// Episodes are troubles that many items meet, so that each is logged once and not for every item.
type Episodes[K comparable] struct {
	mu   sync.Mutex
	seen map[K]time.Time
}

// Begins notes that a trouble was met now, and reports whether it was not met for long before.
func (e *Episodes[K]) Begins(one K, now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	last, found := e.seen[one]
	if e.seen == nil {
		e.seen = map[K]time.Time{}
	}
	if len(e.seen) >= manyEpisodes {
		maps.DeleteFunc(e.seen, func(_ K, at time.Time) bool { return now.Sub(at) > episodeGap })
	}
	e.seen[one] = now
	return !found || now.Sub(last) > episodeGap
}
