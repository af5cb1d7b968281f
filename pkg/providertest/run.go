package providertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// patience is how long a sync may take to return when it has to: when it was cancelled, and when the upstream asks for patience. It is far
// longer than any should need, and only ends a test that would hang.
const patience = 15 * time.Second

// enumerate is Sync or SyncIncremental.
type enumerate func(ctx context.Context, in *contracts.Integration, session contracts.SyncSession) error

// context is the test's, in which a request is sent once: the suite's upstreams fail on purpose, and stay so.
func (k *kit) context(t testing.TB) context.Context {
	t.Helper()
	return contracts.WithAttempts(t.Context(), 1)
}

// run calls a provider's enumeration over the upstream of a recorder. A panic is the provider's mistake and comes back as an error.
func (k *kit) run(t *testing.T, sync enumerate, session *Session, upstream *recorder) error {
	t.Helper()
	session.onItem = upstream.count
	k.sessions = append(k.sessions, session)
	err := k.guarded(t, "the sync", func() error {
		return sync(k.context(t), k.integration(t, upstream), session)
	})
	session.end()
	if last := upstream.endless(); last != "" {
		k.clock.stuck = true
		t.Fatalf("the sync has made %d requests and goes on, the last one to %s: does it ask for the same page for ever?", requestLimit, last)
	}
	k.checkError(t, err)
	return err
}

// full is a sync of the fixture's upstream, which must succeed.
func (k *kit) full(t *testing.T, provider contracts.ScheduledSync) *Session {
	t.Helper()
	session := &Session{}
	if err := k.run(t, provider.Sync, session, k.upstream()); err != nil {
		t.Fatalf("Sync: %v", err)
	}
	return session
}

// since is full for an incremental sync from a cursor.
func (k *kit) since(t *testing.T, provider contracts.IncrementalSync, cursor contracts.Cursor) *Session {
	t.Helper()
	session := &Session{From: cursor}
	if err := k.run(t, provider.SyncIncremental, session, k.upstream()); err != nil {
		t.Fatalf("SyncIncremental: %v", err)
	}
	return session
}

func reduce(t *testing.T, provider contracts.ScheduledSync, checkpoints []contracts.Checkpoint) contracts.Cursor {
	t.Helper()
	cursor, err := provider.ReduceCheckpoints(checkpoints)
	if err != nil {
		t.Fatalf("ReduceCheckpoints: %v", err)
	}
	return cursor
}

// recorder is the way to the fixture's upstream. It counts requests, and notes pages that were never asked for and bodies that stay open.
type recorder struct {
	base http.RoundTripper
	// before is called with the number of each request, from 1, before it is sent. An answer of its own replaces the upstream's.
	before func(n int) *answerer

	mu   sync.Mutex
	n    int
	open int
	// next has the paths whose latest answer named a next page.
	next map[string]bool
	// asked are the requests in their order, with their bodies.
	asked []string
	// refused is the address of the first request beyond the limit.
	refused string
}

// upstream is a recorder over the fixture's client.
func (k *kit) upstream() *recorder {
	base := http.DefaultTransport
	if k.Client != nil && k.Client.Transport != nil {
		base = k.Client.Transport
	}
	return &recorder{base: base, next: map[string]bool{}}
}

// count is how many requests were made so far.
func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.n
}

// endless is the address that was asked when the sync had made all the requests that it may; empty when it made fewer.
func (r *recorder) endless() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refused
}

// again is the first request after a number of them that repeats an earlier one; empty when none does.
func (r *recorder) again(after int) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := after; i < len(r.asked); i++ {
		if slices.Contains(r.asked[:i], r.asked[i]) {
			return r.asked[i]
		}
	}
	return ""
}

// bodyOf is a copy of the body, or nothing where the request has none to copy.
func bodyOf(req *http.Request) string {
	if req.GetBody == nil {
		return ""
	}
	body, err := req.GetBody()
	if err != nil {
		return ""
	}
	defer func() { _ = body.Close() }()
	raw, err := io.ReadAll(body)
	if err != nil {
		return ""
	}
	return " " + string(raw)
}

var nextLink = regexp.MustCompile(`(?i);\s*rel\s*=\s*"?next"?\s*(,|;|$)`)

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	asked := req.Method + " " + req.URL.Redacted() + bodyOf(req)
	r.mu.Lock()
	r.asked = append(r.asked, asked)
	r.n++
	n := r.n
	if n == requestLimit+1 {
		r.refused = req.URL.Redacted()
	}
	r.mu.Unlock()
	if n > requestLimit {
		return nil, fmt.Errorf("the suite allows %d requests a sync", requestLimit)
	}
	if r.before != nil {
		if instead := r.before(n); instead != nil {
			return instead.RoundTrip(req)
		}
	}
	res, err := r.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open++
	r.next[req.URL.Path] = false
	for _, link := range res.Header.Values("Link") {
		r.next[req.URL.Path] = r.next[req.URL.Path] || nextLink.MatchString(link)
	}
	res.Body = &watched{ReadCloser: res.Body, closed: func() { r.mu.Lock(); r.open--; r.mu.Unlock() }}
	return res, nil
}

// left are the paths whose last page named a next one, and the number of bodies that were not closed.
func (r *recorder) left() (paths []string, open int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for path, more := range r.next {
		if more {
			paths = append(paths, path)
		}
	}
	return paths, r.open
}

// watched is a body that reports its first Close.
type watched struct {
	io.ReadCloser
	once   sync.Once
	closed func()
}

func (w *watched) Close() error {
	w.once.Do(w.closed)
	return w.ReadCloser.Close()
}

// transportFunc is a transport of one function.
type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// answerer answers every request alike.
type answerer struct {
	status int
	header http.Header
	body   string
	// cut breaks the body off, fails answers no request at all.
	cut, fails bool
}

func answering(status int, body string) *answerer {
	if body == "" {
		body = `{"message":"` + http.StatusText(status) + `"}`
	}
	return &answerer{status: status, body: body}
}

func (a *answerer) RoundTrip(req *http.Request) (*http.Response, error) {
	if a.fails {
		return nil, errors.New("connection refused")
	}
	header := a.header.Clone()
	if header == nil {
		header = http.Header{}
	}
	header.Set("Content-Type", "application/json")
	var body io.Reader = bytes.NewReader([]byte(a.body))
	if a.cut {
		body = io.MultiReader(body, failing{})
	}
	return &http.Response{
		Status: http.StatusText(a.status), StatusCode: a.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Body: io.NopCloser(body), ContentLength: -1, Request: req,
	}, nil
}

// failing is a body that breaks off.
type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
