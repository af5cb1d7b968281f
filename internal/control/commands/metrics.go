package commands

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributaryhq/tributary/pkg/events"
)

// Metrics count commands. They bear the name of the service that runs them.
type Metrics struct{ commands *prometheus.CounterVec }

// NewMetrics registers the metrics of commands.
func NewMetrics(registerer prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{commands: prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "tributary", Subsystem: "scheduler", Name: "commands_total", Help: "Commands, by verb and result.",
	}, []string{"verb", "result"})}
	return m, registerer.Register(m.commands)
}

// count counts a command. Unknown verbs count as one: whoever may publish could invent any number of them.
func (m *Metrics) count(verb, result string) {
	if !slices.Contains(events.Verbs(), events.Verb(verb)) {
		verb = "unknown"
	}
	m.commands.WithLabelValues(verb, result).Inc()
}

// Rejected counts a command of the API that was rejected.
func (m *Metrics) Rejected(verb events.Verb) { m.count(string(verb), "rejected") }
