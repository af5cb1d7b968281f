package upstream

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

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
	stats.Faults = u.Struck()
	return stats
}

func (u *Upstream) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := u.now()
		w.Header().Set("Date", now.Format(http.TimeFormat))
		w.Header().Set("X-GitHub-Media-Type", "github.v3; format=json")
		u.mu.Lock()
		u.stats.Requests++
		w.Header().Set("X-GitHub-Request-Id", "TRIB:"+strconv.Itoa(u.stats.Requests))
		u.mu.Unlock()
		// An answer is counted before it leaves, so that who has it finds it counted.
		next.ServeHTTP(&statusWriter{ResponseWriter: w, before: u.count}, r)
	})
}

// count counts an answer by its status.
func (u *Upstream) count(status int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch status {
	case http.StatusNotModified:
		u.stats.NotModified++
	case http.StatusUnauthorized:
		u.stats.Unauthorized++
	}
}

type statusWriter struct {
	http.ResponseWriter
	// before is called with the status before the headers leave.
	before func(status int)
}

func (w *statusWriter) WriteHeader(status int) {
	w.before(status)
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
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !u.spend(w.Header(), 1) {
			problem(w, http.StatusForbidden, "API rate limit exceeded for user ID 1.")
			return
		}
		next.ServeHTTP(&statusWriter{ResponseWriter: w, before: func(status int) {
			if status == http.StatusNotModified {
				u.spend(w.Header(), -1)
			}
		}}, r)
	})
}

// spend takes n requests from the budget, unless they are more than is left, and writes the headers about it.
func (u *Upstream) spend(h http.Header, n int) bool {
	const unlimited = 5000
	u.mu.Lock()
	defer u.mu.Unlock()
	now := u.now()
	if !now.Before(u.limits.reset) {
		u.limits = limits{reset: now.Add(time.Hour)}
	}
	if u.opts.RateLimit <= 0 {
		setLimits(h, unlimited, 0, u.limits.reset)
		return true
	}
	if u.limits.used+n > u.opts.RateLimit {
		setLimits(h, u.opts.RateLimit, u.limits.used, u.limits.reset)
		return false
	}
	u.limits.used = max(u.limits.used+n, 0)
	setLimits(h, u.opts.RateLimit, u.limits.used, u.limits.reset)
	return true
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
