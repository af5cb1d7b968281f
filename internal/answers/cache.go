package answers

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

const (
	// revalidatedFor is how much longer an answer is kept that the upstream can be asked about.
	revalidatedFor = 24 * time.Hour
	// cacheWithin is how long the cache may take; without it the upstream is asked.
	cacheWithin = 2 * time.Second
)

// Store keeps answers of upstreams, sealed: they are what one integration may see.
type Store interface {
	// Answers returns the variants of an answer that are still kept.
	Answers(ctx context.Context, key []byte, now time.Time) ([]Stored, error)
	// PutAnswer stores an answer in the place of the one of its variant.
	PutAnswer(ctx context.Context, answer Stored) error
}

// Stored is an answer as it is kept.
type Stored struct {
	// Key and Variant are digests: of the request, and of those of its headers that Vary names.
	Key, Variant []byte
	Vary         []string
	// Answer is to be sealed.
	Answer                          []byte
	StoredAt, FreshUntil, KeepUntil time.Time
}

// Cache is the response cache that all integrations of a process share.
type Cache struct {
	store   Store
	log     *slog.Logger
	metrics *Metrics

	mu      sync.Mutex
	flights map[[sha256.Size]byte]*Flight
}

// New returns a cache on a store.
func New(store Store, metrics *Metrics, log *slog.Logger) *Cache {
	return &Cache{store: store, log: log, metrics: metrics, flights: map[[sha256.Size]byte]*Flight{}}
}

// Flight is one request for which several callers wait. Its caller sets the result before [Cache.Land]; it sets none if
// the answer can't be shared.
type Flight struct {
	Response *Response
	From     string
	Err      error

	key  [sha256.Size]byte
	done chan struct{}
}

// Done is closed when the flight has landed.
func (f *Flight) Done() <-chan struct{} { return f.done }

// Join returns the flight of a request. If leads is true, the caller sends the request and calls [Cache.Land].
func (a *Cache) Join(key []byte, header http.Header) (*Flight, bool) {
	digest := sha256.New()
	_, _ = digest.Write(key)
	writeHeader(digest, header)
	id := [sha256.Size]byte(digest.Sum(nil))
	a.mu.Lock()
	defer a.mu.Unlock()
	if f := a.flights[id]; f != nil {
		return f, false
	}
	f := &Flight{key: id, done: make(chan struct{})}
	a.flights[id] = f
	return f, true
}

// Land ends a flight.
func (a *Cache) Land(f *Flight) {
	a.mu.Lock()
	delete(a.flights, f.key)
	a.mu.Unlock()
	close(f.done)
}

// Kept is an answer from the store.
type Kept struct {
	Stored
	Response Response
}

// Find returns the answer that is kept for a request. It returns nil also when the store fails: then the upstream is
// asked.
func (a *Cache) Find(req *http.Request, key []byte, now time.Time) *Kept {
	ctx, cancel := context.WithTimeout(req.Context(), cacheWithin)
	defer cancel()
	rows, err := a.store.Answers(ctx, key, now)
	if err != nil {
		if req.Context().Err() == nil {
			a.log.Warn("the response cache can't be read", "error", err)
		}
		return nil
	}
	for _, row := range rows {
		if _, variant, ok := variantOf(req, row.Vary); !ok || !bytes.Equal(variant, row.Variant) {
			continue
		}
		kept := &Kept{Stored: row}
		if json.Unmarshal(row.Answer, &kept.Response) == nil && kept.Response.Header != nil {
			return kept
		}
	}
	return nil
}

// Put keeps an answer, unless it varies by more than the headers of the request.
func (a *Cache) Put(req *http.Request, key []byte, response Response, wish contracts.Cache, now time.Time) {
	vary, variant, ok := variantOf(req, response.Header.Values("Vary"))
	if !ok {
		return
	}
	raw, err := json.Marshal(response)
	if err != nil {
		return
	}
	fresh := now.Add(max(wish.TTL, 0))
	keep := max(wish.StaleOnError, 0)
	if response.Header.Get("Etag") != "" || response.Header.Get("Last-Modified") != "" {
		keep = max(keep, revalidatedFor)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(req.Context()), cacheWithin)
	defer cancel()
	err = a.store.PutAnswer(ctx, Stored{
		Key: key, Variant: variant, Vary: vary, Answer: raw, StoredAt: now, FreshUntil: fresh,
		KeepUntil: fresh.Add(keep),
	})
	if err != nil {
		a.log.Warn("the response cache can't be written", "error", err)
	}
}

// Metrics are what a response cache measures.
type Metrics struct{ answers *prometheus.CounterVec }

// NewMetrics registers a response cache's metrics.
func NewMetrics(registerer prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{answers: prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "tributary", Subsystem: "outbound", Name: "cached_answers_total",
		Help: "Requests that might be answered from the cache, by where the answer came from: hit, revalidated, " +
			"stale, or miss.",
	}, []string{"provider", "from"})}
	return m, registerer.Register(m.answers)
}

// Answered counts a request that the cache may answer, by where its answer came from.
func (a *Cache) Answered(provider, from string) {
	a.metrics.answers.WithLabelValues(provider, from).Inc()
}
