// Package idempotency sees to it that a request with an idempotency key is sent once: it keeps a ledger of keys in the
// database, and a shadow of each in NATS in case the database goes back. Package outbound asks it before it sends one.
package idempotency

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

// State is the state of an idempotency key as it is stored.
type State string

// The states.
const (
	// Reserved: its request is under way until its lease is over.
	Reserved State = "reserved"
	// Succeeded: its request was answered.
	Succeeded State = "succeeded"
	// Failed: its request certainly had no effect, and the key is free.
	Failed State = "failed"
	// Unknown: the request may have had its effect or not.
	Unknown State = "unknown"
)

// Store keeps the ledger of idempotency keys.
type Store interface {
	// Reserve gives the key to the claim and returns its previous owner, if it had one, or returns who has it. A key is
	// given when it is new or free. Where the upstream recognises keys, it is also given when its state is unknown, or
	// its lease is over, and its request is the same. Without that, a lease that is over makes it unknown.
	Reserve(ctx context.Context, claim Claim) (previous uuid.UUID, held *Held, err error)
	// Settle writes down what came of the claim's request, unless the key was given to another claim since.
	Settle(ctx context.Context, claim Claim, outcome Outcome) error
}

// Claim is a request that wants a key.
type Claim struct {
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

// Held is a key that is not free.
type Held struct {
	State       State
	Fingerprint []byte
	LeaseUntil  time.Time
	// Answer is what [Outcome] had, nil if none.
	Answer []byte
}

// Outcome is what came of a request with a key.
type Outcome struct {
	State State
	// Answer is to be sealed: it is neither redacted nor cut. Nil when there is none, or none that could be kept.
	Answer []byte
	Error  foreign.Text
	// Request is the id of the first attempt's row in the request log.
	Request uuid.UUID
	Now     time.Time
}

// Ledger keeps the idempotency keys of all integrations.
type Ledger struct {
	store   Store
	shadows cells.Cells
	log     *slog.Logger
	metrics *Metrics
	margin  time.Duration
	warned  sync.Map
}

// LeaseMargin is by how much the lease of a key outlasts the deadline of its request, by default.
const LeaseMargin = 30 * time.Second

// New returns a ledger on a store. Its leases outlast the deadline of a request by margin. shadows are kept beside the
// database; nil keeps none.
func New(store Store, shadows cells.Cells, margin time.Duration, metrics *Metrics, log *slog.Logger) *Ledger {
	return &Ledger{store: store, shadows: shadows, log: log, metrics: metrics, margin: margin}
}

// Reserve is that of the [Store].
func (l *Ledger) Reserve(ctx context.Context, claim Claim) (previous uuid.UUID, held *Held, err error) {
	if !claim.Deduped {
		l.warnOnce(claim.Provider)
	}
	return l.store.Reserve(ctx, claim)
}

// Margin is by how much a lease outlasts the deadline of its request.
func (l *Ledger) Margin() time.Duration { return l.margin }

// Count counts a request with a key by its outcome.
func (l *Ledger) Count(provider, outcome string) {
	l.metrics.outcomes.WithLabelValues(provider, outcome).Inc()
}

// settleWithin is how long writing an outcome may take, even after the deadline of the request.
const settleWithin = 5 * time.Second

// Settle writes the outcome of a request. An error is only logged: a key without an outcome becomes unknown when its
// lease expires.
func (l *Ledger) Settle(ctx context.Context, claim Claim, outcome Outcome) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleWithin)
	defer cancel()
	l.Count(claim.Provider, string(outcome.State))
	if outcome.State == Failed {
		l.freeShadow(ctx, claim)
	}
	if err := l.store.Settle(ctx, claim, outcome); err != nil {
		l.log.Warn("could not write down what came of a request with an idempotency key", "provider", claim.Provider,
			"state", outcome.State, "error", err)
	}
}

func (l *Ledger) warnOnce(provider string) {
	if _, said := l.warned.LoadOrStore(provider, true); !said {
		l.log.Warn("a request has an idempotency key, but the provider does not say that its upstream recognises "+
			"keys: it is not sent, and a request of which nothing is heard is not repeated",
			"provider", provider)
	}
}

// Metrics are what a ledger measures.
type Metrics struct{ outcomes *prometheus.CounterVec }

// NewMetrics registers a ledger's metrics.
func NewMetrics(registerer prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "tributary", Subsystem: "outbound", Name: "idempotency_outcomes_total",
		Help: "Requests with an idempotency key, by what came of them: succeeded, failed, unknown; or not sent: " +
			"replayed, conflict, mismatch.",
	}, []string{"provider", "outcome"})}
	return m, registerer.Register(m.outcomes)
}
