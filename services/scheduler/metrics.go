package scheduler

import (
	"context"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/pkg/events"
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
	commands *prometheus.CounterVec
	open     *prometheus.GaugeVec
	dead     *prometheus.GaugeVec
	webhooks *prometheus.GaugeVec
	// oldest is the age of the oldest webhook of each status.
	oldest    *prometheus.GaugeVec
	keys      *prometheus.GaugeVec
	processes *prometheus.GaugeVec
	outbox    prometheus.Gauge
	outboxLag prometheus.Gauge
}

// NewMetrics registers the scheduler's metrics.
func NewMetrics(registerer prometheus.Registerer) (*Metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "tributary", Subsystem: "scheduler", Name: name, Help: help}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "tributary", Subsystem: "scheduler", Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, start float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "tributary", Subsystem: "scheduler", Name: name, Help: help, Buckets: prometheus.ExponentialBuckets(start, 4, 11),
		}, []string{"provider"})
	}
	m := &Metrics{
		lag:      histogram("claim_lag_seconds", "Time from an integration being due to its run.", 0.01),
		runs:     counter("runs_total", "Runs that were closed, by state.", "provider", "state"),
		duration: histogram("run_duration_seconds", "Time from a run's opening to its close.", 0.01),
		reducing: histogram("close_duration_seconds", "Time to read a complete run's entries, reduce and close it.", 0.001),
		entries: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "tributary", Subsystem: "scheduler", Name: "checkpoint_lag_seconds",
			Help:    "Time from a checkpoint entry being stored to its being seen here.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 11),
		}),
		drives:   counter("driven_again_total", "Runs that nobody drove and that were started again.", "provider"),
		repeats:  counter("repeated_runs_total", "Runs that were started again because Postgres had gone back to an earlier state.", "provider"),
		wentBack: counter("store_went_back_total", "Times that a store was found to have gone back to an earlier state.", "store"),
		backBy:   gauge("store_went_back_seconds", "By how much a store went back when it last did.", "store"),
		messages: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "tributary", Subsystem: "scheduler", Name: "relayed_messages_total", Help: "Outbox messages that were published.",
		}),
		commands:  counter("commands_total", "Commands, by verb and result.", "verb", "result"),
		open:      gauge("open_runs", "Runs that are open, by state.", "provider", "state"),
		dead:      gauge("unresolved_dead_items", "Dead items that wait for a retry or a skip.", "provider"),
		webhooks:  gauge("webhooks", "Webhooks that are pending, in work or failed, by status.", "provider", "status"),
		oldest:    gauge("webhooks_oldest_seconds", "Age of the oldest webhook that is pending, in work or failed, by status.", "provider", "status"),
		keys:      gauge("unknown_idempotency_keys", "Idempotency keys of which nobody knows what came of their request.", "provider"),
		processes: gauge("processes", "Processes that run a service which takes messages, as far as they answer.", "service"),
		outbox:    gauge("outbox_rows", "Messages in the outbox.").WithLabelValues(),
		outboxLag: gauge("outbox_lag_seconds", "Age of the oldest message in the outbox.").WithLabelValues(),
	}
	for _, c := range []prometheus.Collector{m.lag, m.runs, m.duration, m.reducing, m.entries, m.drives, m.repeats, m.wentBack, m.backBy, m.messages, m.commands, m.open, m.dead, m.webhooks, m.oldest, m.keys, m.processes, m.outbox, m.outboxLag} {
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

// command counts one. Verbs that there are not count as one: whoever may publish could make any number of them up.
func (m *Metrics) command(verb, result string) {
	if !slices.Contains(events.Verbs(), events.Verb(verb)) {
		verb = "unknown"
	}
	m.commands.WithLabelValues(verb, result).Inc()
}

// measure reads the gauges from the database.
func (s *Scheduler) measure(ctx context.Context) error {
	runs, err := s.Store.RunCountOpen(ctx)
	if err != nil {
		return err
	}
	s.Metrics.open.Reset()
	for _, row := range runs {
		s.Metrics.open.WithLabelValues(row.Provider, string(row.State)).Set(float64(row.Runs))
	}
	dead, err := s.Store.DeadCountOpen(ctx)
	if err != nil {
		return err
	}
	s.Metrics.dead.Reset()
	for _, row := range dead {
		s.Metrics.dead.WithLabelValues(row.Provider).Set(float64(row.Items))
	}
	waiting, err := s.Store.WebhookCount(ctx)
	if err != nil {
		return err
	}
	s.Metrics.webhooks.Reset()
	s.Metrics.oldest.Reset()
	for _, row := range waiting {
		s.Metrics.oldest.WithLabelValues(row.Provider, row.Status).Set(max(s.Now().Sub(row.Oldest), 0).Seconds())
		s.Metrics.webhooks.WithLabelValues(row.Provider, row.Status).Set(float64(row.Webhooks))
	}
	unknown, err := s.Store.KeyCountUnknown(ctx)
	if err != nil {
		return err
	}
	s.Metrics.keys.Reset()
	for _, row := range unknown {
		s.Metrics.keys.WithLabelValues(row.Provider).Set(float64(row.Keys))
	}
	s.Metrics.outbox.Set(0)
	s.Metrics.outboxLag.Set(0)
	lag, err := s.Store.OutboxLag(ctx)
	if postgres.NotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	s.Metrics.outbox.Set(float64(lag.RowsWaiting))
	s.Metrics.outboxLag.Set(max(s.Now().Sub(lag.Oldest), 0).Seconds())
	return nil
}
