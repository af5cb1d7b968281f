package housekeeping

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributaryhq/tributary/internal/postgres"
)

// Metrics are what the keeper measures. They bear the name of the service that runs it.
type Metrics struct {
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

// NewMetrics registers the metrics of housekeeping.
func NewMetrics(registerer prometheus.Registerer) (*Metrics, error) {
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(
			prometheus.GaugeOpts{Namespace: "tributary", Subsystem: "scheduler", Name: name, Help: help}, labels,
		)
	}
	m := &Metrics{
		open:     gauge("open_runs", "Runs that are open, by state.", "provider", "state"),
		dead:     gauge("unresolved_dead_items", "Dead items that wait for a retry or a skip.", "provider"),
		webhooks: gauge("webhooks", "Webhooks that are pending, in work or failed, by status.", "provider", "status"),
		oldest: gauge(
			"webhooks_oldest_seconds", "Age of the oldest webhook that is pending, in work or failed, by status.",
			"provider", "status",
		),
		keys: gauge(
			"unknown_idempotency_keys", "Idempotency keys of which nobody knows what came of their request.",
			"provider",
		),
		processes: gauge(
			"processes", "Processes that run a service which takes messages, as far as they answer.", "service",
		),
		outbox:    gauge("outbox_rows", "Messages in the outbox.").WithLabelValues(),
		outboxLag: gauge("outbox_lag_seconds", "Age of the oldest message in the outbox.").WithLabelValues(),
	}
	for _, c := range []prometheus.Collector{
		m.open, m.dead, m.webhooks, m.oldest, m.keys, m.processes, m.outbox, m.outboxLag,
	} {
		if err := registerer.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// measure reads the gauges from the database.
func (k *Keeper) measure(ctx context.Context) error {
	runs, err := k.Store.RunCountOpen(ctx)
	if err != nil {
		return err
	}
	k.Metrics.open.Reset()
	for _, row := range runs {
		k.Metrics.open.WithLabelValues(row.Provider, string(row.State)).Set(float64(row.Runs))
	}
	dead, err := k.Store.DeadCountOpen(ctx)
	if err != nil {
		return err
	}
	k.Metrics.dead.Reset()
	for _, row := range dead {
		k.Metrics.dead.WithLabelValues(row.Provider).Set(float64(row.Items))
	}
	waiting, err := k.Store.WebhookCount(ctx)
	if err != nil {
		return err
	}
	k.Metrics.webhooks.Reset()
	k.Metrics.oldest.Reset()
	for _, row := range waiting {
		k.Metrics.oldest.WithLabelValues(row.Provider, row.Status).Set(max(k.Now().Sub(row.Oldest), 0).Seconds())
		k.Metrics.webhooks.WithLabelValues(row.Provider, row.Status).Set(float64(row.Webhooks))
	}
	unknown, err := k.Store.KeyCountUnknown(ctx)
	if err != nil {
		return err
	}
	k.Metrics.keys.Reset()
	for _, row := range unknown {
		k.Metrics.keys.WithLabelValues(row.Provider).Set(float64(row.Keys))
	}
	k.Metrics.outbox.Set(0)
	k.Metrics.outboxLag.Set(0)
	lag, err := k.Store.OutboxLag(ctx)
	if postgres.NotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	k.Metrics.outbox.Set(float64(lag.RowsWaiting))
	k.Metrics.outboxLag.Set(max(k.Now().Sub(lag.Oldest), 0).Seconds())
	return nil
}
