package upstream

import (
	"bytes"
	"cmp"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Endpoints are a handler of no vendor in particular, for what the client of an API has to get along with:
//
//	POST /effects      does something, with 201 and what it was sent; see [Endpoints.Done]
//	ANY  /echo         answers with method, query, headers and body as they came, secrets included
//	GET  /document     a document with ETag and Last-Modified, answered with 304 to who has it; PUT changes it
//	GET  /json/{n}     a JSON document of n bytes at least
//	GET  /binary/{n}   n bytes that are no text
//	ANY  /to?{url}     redirects there with 307, which keeps method and body
//
// Put [Faults] before it to make it hostile. The zero value is ready, and safe for concurrent use.
type Endpoints struct {
	// IdempotencyHeader is the header by which effects are told apart: of requests with the same key one has an effect, and the others get its
	// answer again with "Idempotent-Replayed: true", or 422 if they ask for something else. Empty: every request has an effect.
	IdempotencyHeader string
	// Now is the server's clock, time.Now by default.
	Now func() time.Time

	mu       sync.Mutex
	done     []string
	effects  map[string]effect
	document string
	changed  time.Time
}

// effect is what was done for a key.
type effect struct {
	request string
	answer  []byte
}

// Done are the bodies of the requests that had an effect, in order: a body that is there twice was executed twice.
func (e *Endpoints) Done() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.done)
}

// ServeHTTP serves the endpoints.
func (e *Endpoints) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Date", e.now().UTC().Format(http.TimeFormat))
	verb, argument, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch {
	case verb == "effects" && r.Method == http.MethodPost:
		e.serveEffect(w, r)
	case verb == "echo":
		serveEcho(w, r)
	case verb == "document":
		e.serveDocument(w, r)
	case verb == "json":
		write(w, http.StatusOK, jsonOf(size(argument)))
	case verb == "binary":
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = w.Write(bytes.Repeat([]byte{0xff, 0x00, 0xc3, 0x28}, size(argument)/4+1)[:size(argument)])
	case verb == "to":
		http.Redirect(w, r, r.URL.RawQuery, http.StatusTemporaryRedirect)
	default:
		notFound(w)
	}
}

func (e *Endpoints) now() time.Time {
	if e.Now == nil {
		return time.Now()
	}
	return e.Now()
}

func (e *Endpoints) serveEffect(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		problem(w, http.StatusBadRequest, "The request was cut")
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	key := ""
	if e.IdempotencyHeader != "" {
		key = r.Header.Get(e.IdempotencyHeader)
	}
	if known, ok := e.effects[key]; ok {
		if known.request != string(body) {
			problem(w, http.StatusUnprocessableEntity, "The idempotency key was used for another request")
			return
		}
		w.Header().Set("Idempotent-Replayed", "true")
		write(w, http.StatusCreated, known.answer)
		return
	}
	e.done = append(e.done, string(body))
	answer, _ := json.Marshal(map[string]any{"id": len(e.done), "of": string(body)}) // strings and numbers always encode
	if key != "" {
		if e.effects == nil {
			e.effects = map[string]effect{}
		}
		e.effects[key] = effect{request: string(body), answer: answer}
	}
	write(w, http.StatusCreated, answer)
}

func serveEcho(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		problem(w, http.StatusBadRequest, "The request was cut")
		return
	}
	for name, values := range r.Header {
		w.Header()["Echo-"+name] = values
	}
	answer, _ := json.Marshal(map[string]any{ // strings always encode
		"method": r.Method, "path": r.URL.Path, "query": r.URL.Query(), "headers": r.Header, "body": string(body),
	})
	write(w, http.StatusOK, answer)
}

func (e *Endpoints) serveDocument(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if r.Method == http.MethodPut {
		body, _ := io.ReadAll(r.Body)
		e.document, e.changed = string(body), e.now()
	}
	if e.changed.IsZero() {
		e.changed = newest()
	}
	content := []byte(cmp.Or(e.document, `{"title":"A document"}`))
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("ETag", `"`+strconv.Itoa(len(content))+"-"+strconv.FormatInt(e.changed.UnixNano(), 36)+`"`)
	// It answers 304 by what it finds in the headers.
	http.ServeContent(w, r, "", e.changed, bytes.NewReader(content))
}

// jsonOf is a JSON document of n bytes at least.
func jsonOf(n int) []byte {
	return []byte(`{"filler":"` + strings.Repeat("lorem ipsum ", n/12+1) + `"}`)
}

func size(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return max(n, 0)
}
