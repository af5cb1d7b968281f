package webhookingress

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are what an ingress measures.
type Metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

// NewMetrics registers the ingress's metrics.
func NewMetrics(registerer prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "tributary", Subsystem: "webhook_ingress", Name: "requests_total",
			Help: "Requests by what they were answered: queued, duplicate, ignored, challenge, refused (403), unknown, too-large; share, memory, busy, full, stuck and not-stored (503); and others.",
		}, []string{"provider", "answer"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "tributary", Subsystem: "webhook_ingress", Name: "request_duration_seconds",
			Help: "Time from a request's headers to its answer.", Buckets: prometheus.ExponentialBuckets(0.0005, 3, 10),
		}, []string{"provider"}),
	}
	for _, collector := range []prometheus.Collector{m.requests, m.duration} {
		if err := registerer.Register(collector); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *Metrics) request(provider, answer string, took time.Duration) {
	m.requests.WithLabelValues(provider, answer).Inc()
	m.duration.WithLabelValues(provider).Observe(took.Seconds())
}
