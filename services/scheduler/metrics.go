package scheduler

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributaryhq/tributary/internal/postgres"
)

// Metrics are what a scheduler measures.
type Metrics struct {
	lag      *prometheus.HistogramVec
	runs     *prometheus.CounterVec
	duration *prometheus.HistogramVec
	reducing *prometheus.HistogramVec
	entries  prometheus.Histogram
	drives   *prometheus.CounterVec
	repeats  *prometheus.CounterVec
	wentBack *prometheus.CounterVec
	backBy   *prometheus.GaugeVec
	messages prometheus.Counter
}

// NewMetrics registers the scheduler's metrics.
func NewMetrics(registerer prometheus.Registerer) (*Metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "tributary", Subsystem: "scheduler",
			Name: name, Help: help,
		}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "tributary", Subsystem: "scheduler", Name: name,
			Help: help,
		}, labels)
	}
	histogram := func(name, help string, start float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "tributary", Subsystem: "scheduler", Name: name, Help: help,
			Buckets: prometheus.ExponentialBuckets(start, 4, 11),
		}, []string{"provider"})
	}
	m := &Metrics{
		lag:      histogram("claim_lag_seconds", "Time from an integration being due to its run.", 0.01),
		runs:     counter("runs_total", "Runs that were closed, by state.", "provider", "state"),
		duration: histogram("run_duration_seconds", "Time from a run's opening to its close.", 0.01),
		reducing: histogram("close_duration_seconds", "Time to read a complete run's entries, reduce and close it.",
			0.001),
		entries: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "tributary", Subsystem: "scheduler", Name: "checkpoint_lag_seconds",
			Help:    "Time from a checkpoint entry being stored to its being seen here.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 11),
		}),
		drives: counter("driven_again_total", "Runs that nobody drove and that were started again.", "provider"),
		repeats: counter("repeated_runs_total", "Runs that were started again because Postgres had gone back to an "+
			"earlier state.", "provider"),
		wentBack: counter("store_went_back_total",
			"Times that a store was found to have gone back to an earlier state.", "store"),
		backBy: gauge("store_went_back_seconds", "By how much a store went back when it last did.", "store"),
		messages: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "tributary", Subsystem: "scheduler", Name: "relayed_messages_total",
			Help: "Outbox messages that were published.",
		}),
	}
	for _, c := range []prometheus.Collector{
		m.lag, m.runs, m.duration, m.reducing, m.entries, m.drives, m.repeats,
		m.wentBack, m.backBy, m.messages,
	} {
		if err := registerer.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *Metrics) claimed(provider string, lag time.Duration) {
	m.lag.WithLabelValues(provider).Observe(max(lag, 0).Seconds())
}

func (m *Metrics) closed(run *postgres.Run, now, started time.Time) {
	m.runs.WithLabelValues(run.Provider, string(run.State)).Inc()
	m.duration.WithLabelValues(run.Provider).Observe(now.Sub(run.CreatedAt).Seconds())
	m.reducing.WithLabelValues(run.Provider).Observe(now.Sub(started).Seconds())
}

func (m *Metrics) checkpointSeen(lag time.Duration) { m.entries.Observe(max(lag, 0).Seconds()) }

func (m *Metrics) back(store string, by time.Duration) {
	m.wentBack.WithLabelValues(store).Inc()
	m.backBy.WithLabelValues(store).Set(by.Seconds())
}

func (m *Metrics) repeated(provider string) { m.repeats.WithLabelValues(provider).Inc() }

func (m *Metrics) driven(provider string) { m.drives.WithLabelValues(provider).Inc() }

func (m *Metrics) relayed(messages int) { m.messages.Add(float64(messages)) }
