package commands

import "sync"

// mostFailing bounds the failing commands that a process counts. Beyond it, all counts start again.
const mostFailing = 1000

// failures count how often commands have failed in this process. The number of deliveries does not tell: a command that
// waits for a lock, or for the lag bound, is delivered again as well.
type failures struct {
	mu sync.Mutex
	of map[string]int
}

// add counts a failure of a command, and returns how many there are.
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
