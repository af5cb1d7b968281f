package outbound

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributaryhq/tributary/internal/cells"
	"github.com/tributaryhq/tributary/internal/foreign"
)

// KeyState is the state of an idempotency key as it is stored.
type KeyState string

// The states.
const (
	// KeyReserved: its request is under way until its lease is over.
	KeyReserved KeyState = "reserved"
	// KeySucceeded: its request was answered.
	KeySucceeded KeyState = "succeeded"
	// KeyFailed: its request surely had no effect, and it is free.
	KeyFailed KeyState = "failed"
	// KeyUnknown: nobody knows.
	KeyUnknown KeyState = "unknown"
)

// KeyStore keeps the ledger of idempotency keys.
type KeyStore interface {
	// Reserve gives the key to the claim and returns its previous owner, if it had one, or returns who has it. A key is given when it is new or free. Where the upstream recognises keys, it is
	// also given when its state is unknown, or its lease is over, and its request is the same. Without that, a lease that is over makes it unknown.
	Reserve(ctx context.Context, claim KeyClaim) (previous uuid.UUID, held *HeldKey, err error)
	// Settle writes down what came of the claim's request, unless the key was given to another claim since.
	Settle(ctx context.Context, claim KeyClaim, outcome KeyOutcome) error
}

// KeyClaim is a request that wants a key.
type KeyClaim struct {
	Integration, Provider, Key string
	// Hop counts the redirects that led to the request.
	Hop int
	// Fingerprint is of what the request is.
	Fingerprint []byte
	Owner       uuid.UUID
	LeaseUntil  time.Time
	Now         time.Time
	// Deduped says that the upstream recognises keys.
	Deduped bool
	// shadow is the revision of the claim's shadow, 0 for none.
	shadow uint64
}

// HeldKey is a key that is not free.
type HeldKey struct {
	State       KeyState
	Fingerprint []byte
	LeaseUntil  time.Time
	// Answer is what [KeyOutcome] had, nil if none.
	Answer []byte
}

// KeyOutcome is what came of a request with a key.
type KeyOutcome struct {
	State KeyState
	// Answer is to be sealed: it is neither redacted nor cut. Nil when there is none, or none that could be kept.
	Answer []byte
	Error  foreign.Text
	// Request is the id of the first attempt's row in the request log.
	Request uuid.UUID
	Now     time.Time
}

// Ledger is what the idempotency of all integrations shares.
type Ledger struct {
	store   KeyStore
	shadows cells.Cells
	log     *slog.Logger
	metrics *LedgerMetrics
	margin  time.Duration
	warned  sync.Map
}

// LeaseMargin is by how much the lease of a key outlasts the caller's time, unless a ledger is told otherwise.
const LeaseMargin = 30 * time.Second

// NewLedger returns a ledger on a store, whose leases outlast the caller's time by a margin. shadows are kept beside the database; nil keeps none.
func NewLedger(store KeyStore, shadows cells.Cells, margin time.Duration, metrics *LedgerMetrics, log *slog.Logger) *Ledger {
	return &Ledger{store: store, shadows: shadows, log: log, metrics: metrics, margin: margin}
}

func (l *Ledger) warnOnce(provider string) {
	if _, said := l.warned.LoadOrStore(provider, true); !said {
		l.log.Warn("a request has an idempotency key, but the provider does not say that its upstream recognises keys: it is not sent, and a request of which nothing is heard is not repeated",
			"provider", provider)
	}
}

// LedgerMetrics are what a ledger measures.
type LedgerMetrics struct{ outcomes *prometheus.CounterVec }

// NewLedgerMetrics registers a ledger's metrics.
func NewLedgerMetrics(registerer prometheus.Registerer) (*LedgerMetrics, error) {
	m := &LedgerMetrics{outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "tributary", Subsystem: "outbound", Name: "idempotency_outcomes_total",
		Help: "Requests with an idempotency key, by what came of them: succeeded, failed, unknown; or not sent: replayed, conflict, mismatch.",
	}, []string{"provider", "outcome"})}
	return m, registerer.Register(m.outcomes)
}

func (m *LedgerMetrics) outcome(provider, outcome string) {
	m.outcomes.WithLabelValues(provider, outcome).Inc()
}
