package scheduler

import (
	"context"

	"github.com/tributaryhq/tributary/internal/bus"
)

// TakeCommand does what a scheduler does with a message of the commands' stream.
func TakeCommand(ctx context.Context, s *Scheduler, d *bus.Delivery) error {
	return s.takeCommand(ctx, d)
}
