package upstream

import (
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"time"
)

// Budget is what a limit header tells.
type Budget struct {
	// Limit is how many requests there are in a window, Remaining how many of them are left.
	Limit, Remaining int
	// Window is the window's length; few dialects tell it.
	Window time.Duration
	// ResetIn is when the window ends, from the time of the answer, in whole seconds.
	ResetIn time.Duration
}

// Dialect is a way in which APIs tell a budget in headers.
type Dialect struct {
	// Name is an API that does so, or the draft that says so.
	Name string
	// Headers tells a budget in an answer of the time now.
	Headers func(b Budget, now time.Time) http.Header
	// Resets reports whether the dialect tells when the window ends.
	Resets bool
}

// Dialects are the ways that are common: https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api,
// https://docs.gitlab.com/security/rate_limits, https://docs.x.com/x-api/fundamentals/rate-limits, https://discord.com/developers/docs/topics/rate-limits,
// https://developer.zendesk.com/api-reference/introduction/rate-limits, and the drafts of draft-ietf-httpapi-ratelimit-headers, which have changed
// from three headers to one and then to structured fields.
func Dialects() []Dialect {
	epoch := func(b Budget, now time.Time) int64 { return now.Add(b.ResetIn).Unix() }
	return []Dialect{
		{"github", func(b Budget, now time.Time) http.Header {
			h := http.Header{}
			setLimits(h, b.Limit, b.Limit-b.Remaining, now.Add(b.ResetIn))
			return h
		}, true},
		{"gitlab", func(b Budget, now time.Time) http.Header {
			return headers("RateLimit-Limit", b.Limit, "RateLimit-Remaining", b.Remaining, "RateLimit-Observed", b.Limit-b.Remaining,
				"RateLimit-Reset", epoch(b, now), "RateLimit-ResetTime", now.Add(b.ResetIn).UTC().Format(http.TimeFormat))
		}, true},
		{"x", func(b Budget, now time.Time) http.Header {
			return headers("X-Rate-Limit-Limit", b.Limit, "X-Rate-Limit-Remaining", b.Remaining, "X-Rate-Limit-Reset", epoch(b, now))
		}, true},
		{"discord", func(b Budget, now time.Time) http.Header {
			return headers("X-RateLimit-Limit", b.Limit, "X-RateLimit-Remaining", b.Remaining,
				"X-RateLimit-Reset", fmt.Sprintf("%d.000", epoch(b, now)), "X-RateLimit-Reset-After", fmt.Sprintf("%.3f", b.ResetIn.Seconds()))
		}, true},
		{"zendesk", func(b Budget, _ time.Time) http.Header {
			return headers("X-Rate-Limit", b.Limit, "X-Rate-Limit-Remaining", b.Remaining)
		}, false},
		{"seconds left", func(b Budget, _ time.Time) http.Header {
			return headers("X-RateLimit-Limit", b.Limit, "X-RateLimit-Remaining", b.Remaining, "X-RateLimit-Reset", seconds(b.ResetIn))
		}, true},
		{"draft 03", func(b Budget, _ time.Time) http.Header {
			return headers("RateLimit-Limit", b.Limit, "RateLimit-Remaining", b.Remaining, "RateLimit-Reset", seconds(b.ResetIn))
		}, true},
		{"draft 07", func(b Budget, _ time.Time) http.Header {
			return headers("RateLimit", fmt.Sprintf("limit=%d, remaining=%d, reset=%d", b.Limit, b.Remaining, seconds(b.ResetIn)),
				"RateLimit-Policy", fmt.Sprintf("%d;w=%d", b.Limit, seconds(b.Window)))
		}, true},
		{"draft 10", func(b Budget, _ time.Time) http.Header {
			return headers("RateLimit", fmt.Sprintf(`"default";r=%d;t=%d`, b.Remaining, seconds(b.ResetIn)),
				"RateLimit-Policy", fmt.Sprintf(`"default";q=%d;w=%d`, b.Limit, seconds(b.Window)))
		}, true},
	}
}

// Limits tells a budget with every answer. Put before [TooManyRequests] or another fault, the refusal tells it too.
func Limits(d Dialect, b Budget) Fault {
	return Fault{"limits", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		maps.Copy(w.Header(), d.Headers(b, timeOf(w)))
		next.ServeHTTP(w, r)
	}}
}

// Header adds a header to every answer, that of other faults after it included: such as a Retry-After to a [ServerError].
func Header(name, value string) Fault {
	return Fault{"header", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		w.Header().Set(name, value)
		next.ServeHTTP(w, r)
	}}
}

// TooManyRequestsUntil answers 429 with a Retry-After that is a date.
func TooManyRequestsUntil(at time.Time) Fault {
	return Fault{"too-many-requests", func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Retry-After", at.UTC().Format(http.TimeFormat))
		problem(w, http.StatusTooManyRequests, "Too Many Requests")
	}}
}

// headers are names and values by turns.
func headers(pairs ...any) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Set(fmt.Sprint(pairs[i]), fmt.Sprint(pairs[i+1]))
	}
	return h
}

func seconds(d time.Duration) int { return int(d.Seconds()) }

// timeOf is the time of an answer.
func timeOf(w http.ResponseWriter) time.Time {
	if now, err := http.ParseTime(w.Header().Get("Date")); err == nil {
		return now
	}
	return time.Now()
}

// waitFor writes a Retry-After in whole seconds, none for 0.
func waitFor(w http.ResponseWriter, after time.Duration) {
	if after > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(seconds(after)))
	}
}
