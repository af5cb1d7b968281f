package setaside

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are what is measured of failing work.
type Metrics struct {
	failures *prometheus.CounterVec
	elements *prometheus.GaugeVec
}

// NewMetrics registers the metrics.
func NewMetrics(registerer prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "tributary", Name: "work_failures_total", Help: "Failed tries of elements of sweeps and of messages in the outbox, by kind.",
		}, []string{"kind"}),
		elements: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "tributary", Name: "set_aside", Help: "Work that is set aside because it failed several times, by kind. Read from the database by schedulers.",
		}, []string{"kind"}),
	}
	for _, c := range []prometheus.Collector{m.failures, m.elements} {
		if err := registerer.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *Metrics) failed(kind Kind) { m.failures.WithLabelValues(string(kind)).Inc() }

// Measure reads the gauge from the database.
func (s *Set) Measure(ctx context.Context) error {
	rows, err := s.Store.SetAsideCount(ctx)
	if err != nil {
		return fmt.Errorf("count what is set aside: %w", err)
	}
	s.Metrics.elements.Reset()
	for _, row := range rows {
		s.Metrics.elements.WithLabelValues(row.Kind).Set(float64(row.Elements))
	}
	return nil
}
