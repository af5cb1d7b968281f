package syncer

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are what a syncer measures.
type Metrics struct {
	lag       *prometheus.HistogramVec
	items     *prometheus.CounterVec
	batches   *prometheus.CounterVec
	deferrals *prometheus.CounterVec
	failures  *prometheus.CounterVec
}

// NewMetrics registers the syncer's metrics.
func NewMetrics(registerer prometheus.Registerer) (*Metrics, error) {
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "tributary", Subsystem: "syncer", Name: name, Help: help}, []string{"provider"})
	}
	m := &Metrics{
		lag: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "tributary", Subsystem: "syncer", Name: "due_lag_seconds", Help: "Time from a run being due to the start of its enumeration.",
			Buckets: prometheus.ExponentialBuckets(0.01, 4, 10),
		}, []string{"provider"}),
		items:     counter("enumerated_items_total", "Items handed over to the broker."),
		batches:   counter("published_batches_total", "Batches handed over to the broker."),
		deferrals: counter("deferrals_total", "Enumerations put aside without a failure."),
		failures:  counter("failures_total", "Enumerations that failed."),
	}
	for _, collector := range []prometheus.Collector{m.lag, m.items, m.batches, m.deferrals, m.failures} {
		if err := registerer.Register(collector); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *Metrics) dueLag(provider string, lag time.Duration) {
	m.lag.WithLabelValues(provider).Observe(max(lag, 0).Seconds())
}

func (m *Metrics) published(provider string, items int) {
	m.items.WithLabelValues(provider).Add(float64(items))
	m.batches.WithLabelValues(provider).Inc()
}

func (m *Metrics) deferred(provider string) { m.deferrals.WithLabelValues(provider).Inc() }

func (m *Metrics) failed(provider string) { m.failures.WithLabelValues(provider).Inc() }
