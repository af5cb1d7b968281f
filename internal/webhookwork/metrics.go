package webhookwork

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
)

// Metrics are what a worker measures.
type Metrics struct {
	storage  *prometheus.CounterVec
	handled  *prometheus.CounterVec
	duration *prometheus.HistogramVec
	lag      *prometheus.HistogramVec
	// unwritten are the webhooks with an outcome that Postgres refuses.
	unwritten *prometheus.GaugeVec
}

// NewMetrics registers the metrics.
func NewMetrics(registerer prometheus.Registerer) (*Metrics, error) {
	histogram := func(name, help string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "tributary", Subsystem: "item_worker", Name: name, Help: help,
			Buckets: prometheus.ExponentialBuckets(0.001, 5, 10),
		}, []string{"provider"})
	}
	counter := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "tributary", Subsystem: "item_worker",
			Name: name, Help: help,
		}, []string{"provider", label})
	}
	m := &Metrics{
		storage: counter("webhooks_stored_total",
			"Webhooks taken off the stream: new, or a copy of one that is there.", "what"),
		handled: counter("webhooks_total", "What webhooks came to: processed, ignored, skipped, failed (for good) "+
			"or pending (to be tried again).", "outcome"),
		duration: histogram("webhook_duration_seconds", "Time that handling a webhook took."),
		lag:      histogram("webhook_lag_seconds", "Time from a webhook's reception to when it was processed."),
		unwritten: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "tributary", Subsystem: "item_worker", Name: "webhooks_unwritten",
			Help: "Webhooks that were handled, and that Postgres refuses to have written down. They are tried again; " +
				"the log says why.",
		}, []string{"provider"}),
	}
	for _, collector := range []prometheus.Collector{m.storage, m.handled, m.duration, m.lag, m.unwritten} {
		if err := registerer.Register(collector); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *Metrics) stored(rows []stored, fresh []*dbsqlc.WebhookInsertManyRow) {
	copies := map[string]int{}
	for _, row := range rows {
		copies[row.message.GetProvider()]++
	}
	for _, row := range fresh {
		m.storage.WithLabelValues(row.Provider, "new").Inc()
		copies[row.Provider]--
	}
	for provider, n := range copies {
		m.storage.WithLabelValues(provider, "copy").Add(float64(max(n, 0)))
	}
}

func (m *Metrics) webhook(f finished, took time.Duration, now time.Time) {
	m.handled.WithLabelValues(f.row.Provider, f.status).Inc()
	m.duration.WithLabelValues(f.row.Provider).Observe(took.Seconds())
	if f.status == "processed" {
		m.lag.WithLabelValues(f.row.Provider).Observe(now.Sub(f.row.ReceivedAt).Seconds())
	}
}
