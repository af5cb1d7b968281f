package upstream

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
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
			for i := len(struck) - 1; i >= 0; i-- {
				fault, inner := struck[i], handler
				handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fault.Serve(w, r, inner) })
			}
		}
		handler.ServeHTTP(w, r)
	})
}

// Stats count what an upstream has served.
type Stats struct {
	// Requests are all, NotModified those answered with 304, Unauthorized those without the right token.
	Requests, NotModified, Unauthorized int
	// Faults are those inflicted, by name.
	Faults map[string]int
}

// Stats are the counts since the start.
func (u *Upstream) Stats() Stats {
	u.mu.Lock()
	defer u.mu.Unlock()
	stats := u.stats
	stats.Faults = make(map[string]int, len(u.stats.Faults))
	for name, n := range u.stats.Faults {
		stats.Faults[name] = n
	}
	return stats
}

func (u *Upstream) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := u.now()
		w.Header().Set("Date", now.Format(http.TimeFormat))
		w.Header().Set("X-GitHub-Media-Type", "github.v3; format=json")
		sent := &statusWriter{ResponseWriter: w}
		u.mu.Lock()
		u.stats.Requests++
		w.Header().Set("X-GitHub-Request-Id", "TRIB:"+strconv.Itoa(u.stats.Requests))
		u.mu.Unlock()
		// Faults end a connection by a panic; it is counted all the same.
		defer func() {
			u.mu.Lock()
			defer u.mu.Unlock()
			switch sent.status {
			case http.StatusNotModified:
				u.stats.NotModified++
			case http.StatusUnauthorized:
				u.stats.Unauthorized++
			}
		}()
		next.ServeHTTP(sent, r)
	})
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController find the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// limits is the budget of the current hour.
type limits struct {
	used  int
	reset time.Time
}

// limited counts requests against the budget and says so in the headers. Answers of 304 cost nothing.
func (u *Upstream) limited(next http.Handler) http.Handler {
	const unlimited = 5000
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.mu.Lock()
		now := u.now()
		if !now.Before(u.limits.reset) {
			u.limits = limits{reset: now.Add(time.Hour)}
		}
		limit, isUnlimited := u.opts.RateLimit, u.opts.RateLimit <= 0
		if isUnlimited {
			limit = unlimited
		}
		isExhausted := !isUnlimited && u.limits.used >= limit
		if !isExhausted {
			u.limits.used++
		}
		used, reset := min(u.limits.used, limit), u.limits.reset
		if isUnlimited {
			used = 1
		}
		u.mu.Unlock()
		setLimits(w.Header(), limit, used, reset)
		if isExhausted {
			problem(w, http.StatusForbidden, "API rate limit exceeded for user ID 1.")
			return
		}
		sent := &statusWriter{ResponseWriter: w}
		next.ServeHTTP(sent, r)
		if sent.status == http.StatusNotModified {
			u.mu.Lock()
			u.limits.used--
			u.mu.Unlock()
		}
	})
}

func setLimits(h http.Header, limit, used int, reset time.Time) {
	h.Set("X-RateLimit-Limit", strconv.Itoa(limit))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(limit-used))
	h.Set("X-RateLimit-Used", strconv.Itoa(used))
	h.Set("X-RateLimit-Reset", strconv.FormatInt(reset.Unix(), 10))
	h.Set("X-RateLimit-Resource", "core")
}

// isList reports whether a request asks for a list of records.
func isList(r *http.Request) bool {
	return strings.HasSuffix(r.URL.Path, "/issues") || strings.HasSuffix(r.URL.Path, "/comments")
}
