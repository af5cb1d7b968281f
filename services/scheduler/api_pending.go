package scheduler

import "context"

func (s *Scheduler) serveAPI(ctx context.Context) error {
	<-ctx.Done()
	return nil
}
