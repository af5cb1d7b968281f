package scheduler

import (
	"context"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tributaryhq/tributary/internal/bus"
)

// TakeCommand does what a scheduler does with a message of the commands' stream.
func TakeCommand(ctx context.Context, s *Scheduler, d *bus.Delivery) error {
	return s.takeCommand(ctx, d)
}

// CommandsCounted is how many commands of a verb have come to a result.
func CommandsCounted(s *Scheduler, verb, result string) float64 {
	return testutil.ToFloat64(s.Metrics.commands.WithLabelValues(verb, result))
}
