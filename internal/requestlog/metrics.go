package requestlog

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are what a request log measures.
type Metrics struct {
	rows    prometheus.Counter
	writes  prometheus.Histogram
	waits   prometheus.Counter
	dropped prometheus.Counter
	lost    prometheus.Counter
}

// NewMetrics registers a request log's metrics.
func NewMetrics(registerer prometheus.Registerer) (*Metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "tributary", Subsystem: "request_log",
			Name: name, Help: help,
		})
	}
	m := &Metrics{
		rows: counter("rows_total", "Rows of the request log that were written."),
		writes: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "tributary", Subsystem: "request_log", Name: "write_duration_seconds",
			Help:    "Time that writing a batch of rows took.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 4, 9),
		}),
		waits: counter("waits_total", "Requests that had to wait for room in the request log."),
		dropped: counter("dropped_bodies_total", "Rows that were written without a body, as there was no memory to "+
			"keep it."),
		lost: counter("lost_rows_total", "Rows that were never written: refused by the database, or left when the "+
			"process had to end."),
	}
	for _, c := range []prometheus.Collector{m.rows, m.writes, m.waits, m.dropped, m.lost} {
		if err := registerer.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *Metrics) written(rows int, took time.Duration) {
	m.rows.Add(float64(rows))
	m.writes.Observe(took.Seconds())
}
