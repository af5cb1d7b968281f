package budget

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are what budgets measure.
type Metrics struct {
	grants       *prometheus.CounterVec
	waits        *prometheus.HistogramVec
	suppressions *prometheus.CounterVec
	trips        prometheus.Counter
}

// NewMetrics registers the metrics of budgets.
func NewMetrics(registerer prometheus.Registerer) (*Metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "tributary", Subsystem: "outbound",
			Name: name, Help: help,
		}, append([]string{"provider"}, labels...))
	}
	m := &Metrics{
		grants: counter("budget_grants_total", "Requests that a budget let through."),
		waits: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "tributary", Subsystem: "outbound", Name: "budget_wait_seconds",
			Help:    "Time that requests waited in place for their budget.",
			Buckets: prometheus.ExponentialBuckets(0.01, 2, 11),
		}, []string{"provider"}),
		suppressions: counter("suppressions_total", "Times that an upstream asked to be left alone."),
		trips: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "tributary", Subsystem: "outbound", Name: "budget_round_trips_total",
			Help: "Reads and writes of shared budgets.",
		}),
	}
	for _, collector := range []prometheus.Collector{m.grants, m.waits, m.suppressions, m.trips} {
		if err := registerer.Register(collector); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *Metrics) granted(provider string, waited bool, stayed time.Duration) {
	m.grants.WithLabelValues(provider).Inc()
	if waited {
		m.waits.WithLabelValues(provider).Observe(stayed.Seconds())
	}
}

func (m *Metrics) suppressed(provider string) { m.suppressions.WithLabelValues(provider).Inc() }
