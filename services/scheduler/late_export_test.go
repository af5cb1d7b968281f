package scheduler

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// TakeCommand does what a scheduler does with a message of the commands' stream.
func TakeCommand(ctx context.Context, s *Scheduler, d *bus.Delivery) error {
	return s.takeCommand(ctx, d)
}

// CommandsCounted is how many commands of a verb have come to a result.
func CommandsCounted(s *Scheduler, verb, result string) float64 {
	return testutil.ToFloat64(s.Metrics.commands.WithLabelValues(verb, result))
}

// CarryOut carries a command out, as a scheduler whose services do not run.
func CarryOut(ctx context.Context, s *Scheduler, verb events.Verb, integration string, c *eventsv1.Command) (string, error) {
	result, _, err := s.command(ctx, verb, integration, c, "")
	return result, err
}

// CursorAt asks a provider for the cursor of a time.
func CursorAt(dater contracts.CursorDater, at time.Time) (contracts.Cursor, error) {
	return cursorAt(dater, at)
}

// Describe is what the list of providers says of one.
func Describe(p contracts.Provider) (api.Provider, error) { return describe("p", p) }
