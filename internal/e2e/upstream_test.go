package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	providerupstream "github.com/tributaryhq/tributary/pkg/providertest/upstream"
)

const pageSize = 50

// upstream is the test's side: the records that the provider reads, and the judge that the handlers ask.
type upstream struct {
	server *httptest.Server

	// effects are counted by idempotency key, where the request has one.
	effects providerupstream.Endpoints

	mu      sync.Mutex
	entries []entry
	seq     int64
	// onPage may answer a page request with a status of its own, or hold it; 0 goes on.
	onPage func(after int64, requests int) int
	// judge decides about an item; nil means ok.
	judge   func(h handled) verdict
	pages   int
	history []handling
	// excused are records that a person skipped.
	excused map[string]bool
}

// handling is a handler's question, the answer, and when it was given.
type handling struct {
	handled
	verdict
	at time.Time
}

func newUpstream(t *testing.T) *upstream {
	t.Helper()
	u := &upstream{excused: map[string]bool{}, effects: providerupstream.Endpoints{IdempotencyHeader: "Idempotency-Key"}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /items", u.serveItems)
	mux.HandleFunc("POST /handle", u.serveHandle)
	mux.Handle("POST /effects", &u.effects)
	u.server = httptest.NewServer(mux)
	t.Cleanup(u.server.Close)
	return u
}

// put adds or changes a record.
func (u *upstream) put(id, body string) entry {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.seq++
	u.entries = slices.DeleteFunc(u.entries, func(e entry) bool { return e.ID == id })
	u.entries = append(u.entries, entry{ID: id, Seq: u.seq, Body: body})
	return u.entries[len(u.entries)-1]
}

// fill adds n ordinary records.
func (u *upstream) fill(n int) {
	for range n {
		u.mu.Lock()
		id := fmt.Sprintf("r%d", u.seq+1)
		u.mu.Unlock()
		u.put(id, "plain")
	}
}

func (u *upstream) newest() int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.seq
}

func (u *upstream) setJudge(judge func(h handled) verdict) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.judge = judge
}

func (u *upstream) setOnPage(onPage func(after int64, requests int) int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.onPage = onPage
}

// handlings returns what was asked about a record, or about all for an empty id.
func (u *upstream) handlings(id string) []handling {
	u.mu.Lock()
	defer u.mu.Unlock()
	var found []handling
	for _, h := range u.history {
		if id == "" || h.Entry.ID == id {
			found = append(found, h)
		}
	}
	return found
}

// count counts the handlings with a verdict.
func (u *upstream) count(id, do string) int {
	n := 0
	for _, h := range u.handlings(id) {
		if h.Do == do {
			n++
		}
	}
	return n
}

func (u *upstream) requests() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.pages
}

func (u *upstream) serveItems(w http.ResponseWriter, r *http.Request) {
	after, err := strconv.ParseInt(r.URL.Query().Get("after"), 10, 64)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	u.mu.Lock()
	u.pages++
	onPage, requests := u.onPage, u.pages
	u.mu.Unlock()
	if onPage != nil {
		if status := onPage(after, requests); status != 0 {
			if status == http.StatusTooManyRequests {
				w.Header().Set("Retry-After", "0.3")
			}
			w.WriteHeader(status)
			return
		}
	}
	u.mu.Lock()
	page := []entry{}
	for _, e := range u.entries {
		if e.Seq > after && len(page) < pageSize {
			page = append(page, e)
		}
	}
	u.mu.Unlock()
	_ = json.NewEncoder(w).Encode(page)
}

func (u *upstream) serveHandle(w http.ResponseWriter, r *http.Request) {
	var h handled
	if err := json.NewDecoder(r.Body).Decode(&h); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	u.mu.Lock()
	judge := u.judge
	u.mu.Unlock()
	v := verdict{Do: "ok"}
	if judge != nil {
		if v = judge(h); v.Do == "" {
			v.Do = "ok"
		}
	}
	u.mu.Lock()
	u.history = append(u.history, handling{handled: h, verdict: v, at: time.Now()})
	u.mu.Unlock()
	if v.Status != 0 {
		if v.Wait != "" {
			w.Header().Set("Retry-After", v.Wait)
		}
		w.WriteHeader(v.Status)
		return
	}
	_ = json.NewEncoder(w).Encode(v)
}
