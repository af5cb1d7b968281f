package outbound

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

// AnswerStore keeps answers of upstreams, sealed: they are what one integration may see.
type AnswerStore interface {
	// Answers returns the variants of an answer that are still kept.
	Answers(ctx context.Context, key []byte, now time.Time) ([]StoredAnswer, error)
	// PutAnswer stores an answer in the place of the one of its variant.
	PutAnswer(ctx context.Context, answer StoredAnswer) error
}

// StoredAnswer is an answer as it is kept.
type StoredAnswer struct {
	// Key and Variant are digests: of the request, and of those of its headers that Vary names.
	Key, Variant []byte
	Vary         []string
	// Answer is to be sealed.
	Answer                          []byte
	StoredAt, FreshUntil, KeepUntil time.Time
}

// Answers is the response cache that all integrations of a process share.
type Answers struct {
	store   AnswerStore
	log     *slog.Logger
	metrics *AnswerMetrics

	mu      sync.Mutex
	flights map[[sha256.Size]byte]*flight
}

// NewAnswers returns a cache on a store.
func NewAnswers(store AnswerStore, metrics *AnswerMetrics, log *slog.Logger) *Answers {
	return &Answers{store: store, log: log, metrics: metrics, flights: map[[sha256.Size]byte]*flight{}}
}

// flight is one request that several wait for. What came of it is written before done is closed; nothing, if it can't be shared.
type flight struct {
	key      [sha256.Size]byte
	done     chan struct{}
	response *keptResponse
	from     string
	err      error
}

// join returns the flight of a request, and whether the caller leads it.
func (a *Answers) join(key []byte, header http.Header) (*flight, bool) {
	digest := sha256.New()
	_, _ = digest.Write(key)
	writeHeader(digest, header)
	id := [sha256.Size]byte(digest.Sum(nil))
	a.mu.Lock()
	defer a.mu.Unlock()
	if f := a.flights[id]; f != nil {
		return f, false
	}
	f := &flight{key: id, done: make(chan struct{})}
	a.flights[id] = f
	return f, true
}

func (a *Answers) land(f *flight) {
	a.mu.Lock()
	delete(a.flights, f.key)
	a.mu.Unlock()
	close(f.done)
}

// keptAnswerRow is an answer from the store.
type keptAnswerRow struct {
	StoredAnswer
	response keptResponse
}

// find returns what is kept for a request; nil also when the store can't be asked, for then the upstream can.
func (a *Answers) find(req *http.Request, key []byte, now time.Time) *keptAnswerRow {
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
		kept := &keptAnswerRow{StoredAnswer: row}
		if json.Unmarshal(row.Answer, &kept.response) == nil && kept.response.Header != nil {
			return kept
		}
	}
	return nil
}

// put keeps an answer, unless it depends on more than can be told.
func (a *Answers) put(req *http.Request, key []byte, response keptResponse, wish contracts.Cache, now time.Time) {
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
	err = a.store.PutAnswer(ctx, StoredAnswer{
		Key: key, Variant: variant, Vary: vary, Answer: raw, StoredAt: now, FreshUntil: fresh, KeepUntil: fresh.Add(keep),
	})
	if err != nil {
		a.log.Warn("the response cache can't be written", "error", err)
	}
}

// AnswerMetrics are what a response cache measures.
type AnswerMetrics struct{ answers *prometheus.CounterVec }

// NewAnswerMetrics registers a response cache's metrics.
func NewAnswerMetrics(registerer prometheus.Registerer) (*AnswerMetrics, error) {
	m := &AnswerMetrics{answers: prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "tributary", Subsystem: "outbound", Name: "cached_answers_total",
		Help: "Requests that might be answered from the cache, by where the answer came from: hit, revalidated, stale, or miss.",
	}, []string{"provider", "from"})}
	return m, registerer.Register(m.answers)
}

func (m *AnswerMetrics) answered(provider, from string) {
	m.answers.WithLabelValues(provider, from).Inc()
}
