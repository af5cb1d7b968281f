package upstream

import (
	"math/rand/v2"
	"net/http"
	"slices"
)

// Fault is one kind of hostility: what becomes of a request. It may answer itself, or call next and change the answer. The ready-made ones are
// below; a test may write its own.
type Fault struct {
	// Name is what [Stats] count it under.
	Name string
	// Serve answers the request.
	Serve func(w http.ResponseWriter, r *http.Request, next http.Handler)
}

// faults are those in force, the first injected outermost.
type faults struct {
	active []*activeFault
	random *rand.Rand
}

type activeFault struct {
	Fault
	// hits reports whether the fault strikes this request; it is called with the upstream locked.
	hits func() bool
}

func newFaults(seed uint64) faults { return faults{random: rand.New(rand.NewPCG(seed, 0xfa17))} }

// Next inflicts the fault on the next n reading requests.
func (u *Upstream) Next(n int, f Fault) {
	u.inject(f, func() bool { n--; return n >= 0 })
}

// After inflicts the fault on every reading request but the next n.
func (u *Upstream) After(n int, f Fault) {
	u.inject(f, func() bool { n--; return n < 0 })
}

// Chance inflicts the fault on each reading request with the probability p, from 0 to 1, by the upstream's seed.
func (u *Upstream) Chance(p float64, f Fault) {
	u.inject(f, func() bool { return u.faults.random.Float64() < p })
}

// Always inflicts the fault on every reading request.
func (u *Upstream) Always(f Fault) { u.inject(f, func() bool { return true }) }

// Calm takes all faults away.
func (u *Upstream) Calm() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.faults.active = nil
}

func (u *Upstream) inject(f Fault, hits func() bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.faults.active = append(u.faults.active, &activeFault{Fault: f, hits: hits})
}

// faulty puts the faults that strike before next. Only reading requests suffer, so that a test can always edit.
func (u *Upstream) faulty(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler := next
		if r.Method == http.MethodGet {
			u.mu.Lock()
			struck := make([]Fault, 0, len(u.faults.active))
			for _, f := range u.faults.active {
				if f.hits() {
					struck = append(struck, f.Fault)
					u.stats.Faults[f.Name]++
				}
			}
			u.mu.Unlock()
			for _, fault := range slices.Backward(struck) {
				inner := handler
				handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fault.Serve(w, r, inner) })
			}
		}
		handler.ServeHTTP(w, r)
	})
}
