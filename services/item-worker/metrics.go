package itemworker

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributaryhq/tributary/internal/deferral"
	"github.com/tributaryhq/tributary/internal/webhookwork"
	"github.com/tributaryhq/tributary/internal/wire"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// Metrics are what a worker measures.
type Metrics struct {
	batches  *prometheus.HistogramVec
	items    *prometheus.HistogramVec
	outcomes *prometheus.CounterVec
	// unwritten are items whose outcomes wait for a store.
	unwritten *prometheus.GaugeVec
	refusals  *prometheus.CounterVec
	webhooks  *webhookwork.Metrics
}

// NewMetrics registers the worker's metrics.
func NewMetrics(registerer prometheus.Registerer) (*Metrics, error) {
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "tributary", Subsystem: "item_worker", Name: name, Help: help,
			Buckets: prometheus.ExponentialBuckets(0.0001, 5, 10),
		}, labels)
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "tributary", Subsystem: "item_worker",
			Name: name, Help: help,
		}, labels)
	}
	m := &Metrics{
		batches: histogram("batch_duration_seconds", "Time from a batch's delivery to its last outcome.", "provider",
			"lane"),
		items: histogram("item_duration_seconds", "Time that the handlers of an item took.", "provider"),
		outcomes: counter("outcomes_total", "What items came to: done, skipped, dead, failed (to be tried again), "+
			"deferred, or no-handler (deferred until a worker has the handler).", "provider", "outcome"),
		refusals: counter("refused_batches_total", "Batches of closed runs and older attempts, acknowledged without "+
			"being run.", "provider"),
	}
	m.unwritten = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: "tributary", Subsystem: "item_worker", Name: "unwritten_items",
		Help: "Items that are handled and whose outcomes a store refuses for now.",
	}, []string{"provider"})
	var err error
	for _, collector := range []prometheus.Collector{m.batches, m.items, m.outcomes, m.refusals, m.unwritten} {
		if err = registerer.Register(collector); err != nil {
			return nil, err
		}
	}
	m.webhooks, err = webhookwork.NewMetrics(registerer)
	return m, err
}

func (m *Metrics) batch(provider string, lane wire.Lane, took time.Duration) {
	m.batches.WithLabelValues(provider, string(lane)).Observe(took.Seconds())
}

func (m *Metrics) refused(provider string) { m.refusals.WithLabelValues(provider).Inc() }

func (m *Metrics) outcomesOf(provider string, results []result) {
	counts := map[string]int{}
	for _, r := range results {
		counts[r.name()]++
	}
	for name, n := range counts {
		m.outcomes.WithLabelValues(provider, name).Add(float64(n))
	}
}

// name is the result as the metric spells it.
func (r result) name() string {
	switch {
	case r.state == eventsv1.OutcomeState_OUTCOME_STATE_DONE:
		return "done"
	case r.state == eventsv1.OutcomeState_OUTCOME_STATE_SKIPPED:
		return "skipped"
	case r.state == eventsv1.OutcomeState_OUTCOME_STATE_DEAD:
		return "dead"
	case r.failed:
		return "failed"
	case r.cause == deferral.Handler:
		return "no-handler"
	}
	return "deferred"
}
