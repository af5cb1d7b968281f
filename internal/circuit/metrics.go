package circuit

import "github.com/prometheus/client_golang/prometheus"

// Metrics are what circuits measure.
type Metrics struct{ transitions *prometheus.CounterVec }

// NewMetrics registers the metrics of circuits.
func NewMetrics(registerer prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{transitions: prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "tributary", Subsystem: "outbound", Name: "circuit_transitions_total",
		Help: "Circuits that this process opened or closed.",
	}, []string{"provider", "to"})}
	return m, registerer.Register(m.transitions)
}
