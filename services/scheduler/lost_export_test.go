package scheduler

import "context"

// DriveLost drives the runs of a loss that was noted.
func (s *Scheduler) DriveLost(ctx context.Context) error { return s.driveLost(ctx) }
