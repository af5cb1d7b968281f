package scheduler

import (
	"context"

	"github.com/tributaryhq/tributary/internal/wire"
)

// NewMark returns what compares the stores once.
func NewMark(ctx context.Context, s *Scheduler) (func(context.Context) error, error) {
	cells, err := s.Bus.Cells(ctx, wire.BucketMark)
	if err != nil {
		return nil, err
	}
	return (&mark{Scheduler: s, cells: cells}).compare, nil
}
