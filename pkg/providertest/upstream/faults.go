package upstream

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Latency waits before every answer.
func Latency(d time.Duration) Fault {
	return Fault{"latency", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if pause(r, d) {
			next.ServeHTTP(w, r)
		}
	}}
}

// TooManyRequests answers 429 with a Retry-After in whole seconds; a wait of 0 sends none.
func TooManyRequests(after time.Duration) Fault {
	return Fault{"too-many-requests", func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		waitFor(w, after)
		problem(w, http.StatusTooManyRequests, "Too Many Requests")
	}}
}

// SecondaryLimit answers 403 as GitHub does to who asks too fast; a wait of 0 sends no Retry-After.
func SecondaryLimit(after time.Duration) Fault {
	return Fault{"secondary-limit", func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		waitFor(w, after)
		problem(w, http.StatusForbidden, "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.")
	}}
}

// PrimaryLimit answers 403 as GitHub does when the hour's budget is used up, which comes back after the given time.
func PrimaryLimit(resetIn time.Duration) Fault {
	return Fault{"primary-limit", func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		setLimits(w.Header(), 5000, 5000, timeOf(w).Add(resetIn))
		problem(w, http.StatusForbidden, "API rate limit exceeded for user ID 1.")
	}}
}

// Forbidden answers 403 for want of a right, which no waiting cures.
func Forbidden() Fault {
	return Fault{"forbidden", func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		problem(w, http.StatusForbidden, "Resource not accessible by personal access token")
	}}
}

// ServerError answers with a status of 500 and above, and HTML, as a proxy does.
func ServerError(status int) Fault {
	return Fault{"server-error", func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		http.Error(w, "<html><body>"+http.StatusText(status)+"</body></html>", status)
	}}
}

// ExpiredToken answers 401 as if the token had expired.
func ExpiredToken() Fault {
	return Fault{"expired-token", func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { badCredentials(w) }}
}

// SlowBody sends the answer in pieces of a size with a pause before each.
func SlowBody(size int, pauses time.Duration) Fault {
	return Fault{"slow-body", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		answer := record(w, r, next)
		answer.sendHead(w)
		for rest := answer.body.Bytes(); len(rest) > 0; {
			if !pause(r, pauses) {
				return
			}
			n := min(size, len(rest))
			if _, err := w.Write(rest[:n]); err != nil {
				return
			}
			// A writer that can't flush is merely less slow.
			_ = http.NewResponseController(w).Flush()
			rest = rest[n:]
		}
	}}
}

// CutBody breaks the connection in the middle of the answer.
func CutBody() Fault {
	return Fault{"cut-body", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		answer := record(w, r, next)
		answer.sendHead(w)
		_, _ = w.Write(answer.body.Bytes()[:answer.body.Len()/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}}
}

// CutConnection breaks the connection before any answer.
func CutConnection() Fault {
	return Fault{"cut-connection", func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) }}
}

// MalformedJSON sends an answer that stops half way, and says it is whole.
func MalformedJSON() Fault {
	return Fault{"malformed-json", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		answer := record(w, r, next)
		answer.body.Truncate(answer.body.Len() / 2)
		answer.send(w)
	}}
}

// ForeignLink lets the Link headers of lists point to another host.
func ForeignLink(base string) Fault {
	return Fault{"foreign-link", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		answer := record(w, r, next)
		if links := w.Header().Get("Link"); links != "" {
			w.Header().Set("Link", strings.ReplaceAll(links, "http://"+r.Host, base))
		}
		answer.send(w)
	}}
}

// Redirect answers with a redirection of the path to another base.
func Redirect(base string) Fault {
	return Fault{"redirect", func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		http.Redirect(w, r, base+r.URL.RequestURI(), http.StatusMovedPermanently)
	}}
}

// Duplicates repeats the first record of every list at its end.
func Duplicates() Fault {
	return Fault{"duplicates", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		answer := record(w, r, next)
		var list []json.RawMessage
		if isList(r) && json.Unmarshal(answer.body.Bytes(), &list) == nil && len(list) > 0 {
			body, _ := json.Marshal(append(list, list[0])) // decoded just now
			answer.body = *bytes.NewBuffer(body)
			w.Header().Del("ETag")
		}
		answer.send(w)
	}}
}

// Shift touches n issues of the first numbers, by the seed, between the making of every list and its sending: what is
// read moves while it is being read.
func (u *Upstream) Shift(n int) Fault {
	return Fault{"shift", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		answer := record(w, r, next)
		defer answer.send(w)
		if !isList(r) || u.opts.Issues == 0 {
			return
		}
		for range n {
			// The number is within the first ones, which always exist.
			_ = u.Touch(u.number(u.opts.Issues))
		}
	}}
}

// answer is what next would have sent; its headers are in the real writer already.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func record(w http.ResponseWriter, r *http.Request, next http.Handler) *answer {
	a := &answer{header: w.Header(), status: http.StatusOK}
	next.ServeHTTP(a, r)
	return a
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(p []byte) (int, error) { return a.body.Write(p) }

func (a *answer) sendHead(w http.ResponseWriter) { w.WriteHeader(a.status) }

// send writes the answer with the length that it now has.
func (a *answer) send(w http.ResponseWriter) {
	w.Header().Set("Content-Length", strconv.Itoa(a.body.Len()))
	if a.status == http.StatusNotModified {
		w.Header().Del("Content-Length")
	}
	a.sendHead(w)
	_, _ = io.Copy(w, &a.body)
}

// pause waits, and reports whether the client is still there.
func pause(r *http.Request, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	}
}
