package commands

import "sync"

// mostFailing is how many failing commands a process knows; beyond it all are given their tries again.
const mostFailing = 1000

// failures count how often commands have failed in this process. Deliveries are no measure of that: a command that
// waited for a lock, or for its late look, was delivered too.
type failures struct {
	mu sync.Mutex
	of map[string]int
}

// add counts a failure, and returns how many there are.
func (f *failures) add(id string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.of == nil || len(f.of) >= mostFailing {
		f.of = map[string]int{}
	}
	f.of[id]++
	return f.of[id]
}

func (f *failures) forget(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.of, id)
}
