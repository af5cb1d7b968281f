package outbound

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// GuardMetrics are what budgets measure.
type GuardMetrics struct {
	grants       *prometheus.CounterVec
	waits        *prometheus.HistogramVec
	suppressions *prometheus.CounterVec
	trips        prometheus.Counter
}

// NewGuardMetrics registers the metrics of budgets.
func NewGuardMetrics(registerer prometheus.Registerer) (*GuardMetrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "tributary", Subsystem: "outbound", Name: name, Help: help}, append([]string{"provider"}, labels...))
	}
	m := &GuardMetrics{
		grants: counter("budget_grants_total", "Requests that a budget let through."),
		waits: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "tributary", Subsystem: "outbound", Name: "budget_wait_seconds", Help: "Time that requests waited in place for their budget.",
			Buckets: prometheus.ExponentialBuckets(0.01, 2, 11),
		}, []string{"provider"}),
		suppressions: counter("suppressions_total", "Times that an upstream asked to be left alone."),
		trips: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "tributary", Subsystem: "outbound", Name: "budget_round_trips_total", Help: "Reads and writes of shared budgets.",
		}),
	}
	for _, collector := range []prometheus.Collector{m.grants, m.waits, m.suppressions, m.trips} {
		if err := registerer.Register(collector); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *GuardMetrics) granted(provider string, waited bool, stayed time.Duration) {
	m.grants.WithLabelValues(provider).Inc()
	if waited {
		m.waits.WithLabelValues(provider).Observe(stayed.Seconds())
	}
}

func (m *GuardMetrics) suppressed(provider string) { m.suppressions.WithLabelValues(provider).Inc() }
