package tokenrefresher

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributaryhq/tributary/internal/postgres"
)

// Metrics are what a refresher measures.
type Metrics struct {
	refreshes *prometheus.HistogramVec
	expiry    *prometheus.GaugeVec
	pending   *prometheus.GaugeVec
	uncertain *prometheus.GaugeVec
	left      prometheus.Gauge
}

// NewMetrics registers the refresher's metrics.
func NewMetrics(registerer prometheus.Registerer) (*Metrics, error) {
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "tributary", Subsystem: "token_refresher", Name: name, Help: help}, []string{"provider"})
	}
	m := &Metrics{
		refreshes: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "tributary", Subsystem: "token_refresher", Name: "refresh_duration_seconds",
			Help: "Time that a refresh takes, by what comes of it.", Buckets: prometheus.ExponentialBuckets(0.005, 3, 9),
		}, []string{"provider", "outcome"}),
		expiry:    gauge("first_expiry_seconds", "Time until the first access token ends; negative when one has. Absent where none ends."),
		pending:   gauge("pending_reauthorizations", "Integrations that wait for their user to authorize."),
		uncertain: gauge("uncertain_grants", "Grants whose refresh broke off, to be tried once more."),
		left: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "tributary", Subsystem: "token_refresher", Name: "values_to_reseal", Help: "Sealed values that the primary key has not sealed yet.",
		}),
	}
	for _, c := range []prometheus.Collector{m.refreshes, m.expiry, m.pending, m.uncertain, m.left} {
		if err := registerer.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *Metrics) refreshed(provider, outcome string, took time.Duration) {
	m.refreshes.WithLabelValues(provider, outcome).Observe(took.Seconds())
}

func (m *Metrics) keys(keys postgres.Keys) { m.left.Set(float64(keys.Left)) }

// measureEvery is how often the gauges are read from the database; scrapes come no more often.
const measureEvery = 15 * time.Second

// measure reads the gauges from the database.
func (r *Refresher) measure(ctx context.Context) error {
	if r.Now().Sub(r.measured) < measureEvery {
		return nil
	}
	r.measured = r.Now()
	rows, err := r.Store.GrantMeasure(ctx, r.Now(), r.keys)
	if err != nil {
		return fmt.Errorf("measure grants: %w", err)
	}
	for _, gauge := range []*prometheus.GaugeVec{r.Metrics.expiry, r.Metrics.pending, r.Metrics.uncertain} {
		gauge.Reset()
	}
	for _, row := range rows {
		r.Metrics.pending.WithLabelValues(row.Provider).Set(float64(row.Pending))
		r.Metrics.uncertain.WithLabelValues(row.Provider).Set(float64(row.Uncertain))
		if row.Expiring > 0 {
			r.Metrics.expiry.WithLabelValues(row.Provider).Set(row.SecondsLeft)
		}
	}
	keys, err := r.Store.Keys(ctx, r.Now())
	if err != nil {
		return err
	}
	r.Metrics.keys(keys)
	if missing := strings.Join(keys.Missing, ", "); missing != r.missing {
		r.missing = missing
		if missing != "" {
			r.Log.Error("a key that has sealed values is not in the ring: what it has sealed can't be opened; add it again, and run: "+
				"tributary secrets rotate", "keys", missing)
		}
	}
	return nil
}
