package platform

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/watchdog"
	"github.com/tributaryhq/tributary/internal/wire"
)

const (
	// compareEvery is how often the clock of this machine is compared with the broker's.
	compareEvery = 15 * time.Second
	// skewTold is from which difference on it is reported. Everything still happens at the right time, and logs and upstreams see the wrong one.
	skewTold = time.Second
	// clockWithin bounds the first comparison, without which a service starts by its own clock.
	clockWithin = 5 * time.Second
)

// keepTime has all services go by the broker's clock, which they have in common: due times, windows, leases and staleness do not depend on the clocks
// of their machines.
func (p *Platform) keepTime(ctx context.Context) error {
	p.clock = p.Bus.Clock(wire.BucketLimits)
	if p.config.Now == nil {
		p.config.Now = p.clock.Now
	}
	if err := RegisterClock(p.config.Metrics, func() time.Duration { return -p.clock.Skew() }); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, clockWithin)
	defer cancel()
	if err := p.clock.Refresh(ctx); err != nil {
		p.config.Log.Warn("the broker's time is not known yet; this machine's serves meanwhile", "error", err)
	}
	return nil
}

// RegisterClock registers the metric of a clock. ahead is by how much the clock of this machine is ahead of the broker's.
func RegisterClock(registerer prometheus.Registerer, ahead func() time.Duration) error {
	err := registerer.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "tributary", Name: "clock_skew_seconds",
		Help: "By how much the clock of this machine is ahead of the broker's, which all services go by; negative when it is behind.",
	}, func() float64 { return ahead().Seconds() }))
	if err != nil {
		return fmt.Errorf("register the metric of the clock: %w", err)
	}
	return nil
}

// compareClocks keeps the correction current and warns of a clock that is wrong, until ctx ends.
func compareClocks(ctx context.Context, clock *bus.Clock, log *slog.Logger) error {
	ticks := time.NewTicker(compareEvery)
	defer ticks.Stop()
	wrong := false
	for {
		// An error means that the broker is away, which others report.
		_ = watchdog.Step(ctx, "compare clocks", func(ctx context.Context) error { return clock.Refresh(ctx) })
		skew := -clock.Skew()
		if now := skew.Abs() > skewTold; now != wrong {
			if wrong = now; wrong {
				log.Warn("the clock of this machine differs from the broker's; services go by the broker's, so set this one right, with NTP for example", "ahead_by", skew)
			} else {
				log.Info("the clock of this machine is right again", "ahead_by", skew)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticks.C:
		}
	}
}
