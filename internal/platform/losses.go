package platform

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/services/scheduler"
)

// LossMetrics count streams and buckets that have lost their history.
type LossMetrics struct{ losses *prometheus.CounterVec }

// NewLossMetrics registers the metrics.
func NewLossMetrics(registerer prometheus.Registerer) (*LossMetrics, error) {
	m := &LossMetrics{losses: prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "tributary", Subsystem: "nats", Name: "losses_total",
		Help: "Streams and buckets that were made anew, or went back to an earlier state, while this process lived.",
	}, []string{"store", "kind"})}
	if err := registerer.Register(m.losses); err != nil {
		return nil, fmt.Errorf("register the metric of losses: %w", err)
	}
	return m, nil
}

// survey looks after streams, buckets and consumers until ctx ends. What a loss means for the work is for the scheduler.
func (p *Platform) survey(ctx context.Context, s *scheduler.Scheduler) error {
	return p.Bus.Survey(ctx, func(found []bus.Loss) {
		var runsLost, seen time.Time
		for _, loss := range found {
			p.losses.losses.WithLabelValues(loss.Store, string(loss.Kind)).Inc()
			switch loss.Store {
			case wire.BucketCheckpoints, wire.StreamItems, wire.StreamSync:
				if loss.At.After(runsLost) {
					runsLost, seen = loss.At, loss.Seen
				}
			}
		}
		if !runsLost.IsZero() {
			s.StoreLost(runsLost, seen)
		}
	})
}
