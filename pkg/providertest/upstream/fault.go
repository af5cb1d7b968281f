package upstream

import (
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
)

// Fault is one kind of hostility: what becomes of a request. It may answer itself, or call next and change the answer. The ready-made ones are
// below; a test may write its own.
type Fault struct {
	// Name is what [Stats] count it under.
	Name string
	// Serve answers the request.
	Serve func(w http.ResponseWriter, r *http.Request, next http.Handler)
}

// Faults are those in force before a handler, the first injected outermost. [Upstream] has them before its own; put them before a handler of your
// own with [Faults.Before]. They are safe for concurrent use.
type Faults struct {
	mu     sync.Mutex
	active []*activeFault
	random *rand.Rand
	struck map[string]int
}

type activeFault struct {
	Fault
	// hits reports whether the fault strikes this request; it is called with the faults locked.
	hits func() bool
}

// NewFaults has no fault in force. What is left to chance goes by the seed.
func NewFaults(seed uint64) *Faults {
	return &Faults{random: rand.New(rand.NewPCG(seed, 0xfa17)), struck: map[string]int{}}
}

// Next inflicts the fault on the next n requests.
func (f *Faults) Next(n int, fault Fault) {
	f.inject(fault, func() bool { n--; return n >= 0 })
}

// After inflicts the fault on every request but the next n.
func (f *Faults) After(n int, fault Fault) {
	f.inject(fault, func() bool { n--; return n < 0 })
}

// Chance inflicts the fault on each request with the probability p, from 0 to 1.
func (f *Faults) Chance(p float64, fault Fault) {
	f.inject(fault, func() bool { return f.random.Float64() < p })
}

// Always inflicts the fault on every request.
func (f *Faults) Always(fault Fault) { f.inject(fault, func() bool { return true }) }

// Calm takes all faults away.
func (f *Faults) Calm() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.active = nil
}

// Struck counts the faults inflicted so far, by name.
func (f *Faults) Struck() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.struck)
}

// Before puts the faults that strike before next.
func (f *Faults) Before(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler := next
		for _, fault := range slices.Backward(f.strike()) {
			inner := handler
			handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fault.Serve(w, r, inner) })
		}
		handler.ServeHTTP(w, r)
	})
}

// strike are the faults that hit one request.
func (f *Faults) strike() []Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []Fault
	for _, fault := range f.active {
		if fault.hits() {
			all = append(all, fault.Fault)
			f.struck[fault.Name]++
		}
	}
	return all
}

func (f *Faults) inject(fault Fault, hits func() bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.active = append(f.active, &activeFault{Fault: fault, hits: hits})
}

// number picks one from 1 to n.
func (f *Faults) number(n int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return 1 + f.random.IntN(n)
}

// faulty puts the upstream's faults before next. Only reading requests suffer, so that a test can always edit.
func (u *Upstream) faulty(next http.Handler) http.Handler {
	struck := u.Before(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			struck.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}
