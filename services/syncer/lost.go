package syncer

import (
	"context"
	"time"

	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres"
)

// lostTimeout bounds how long a late call of Dispatch is held by writing down that its item is lost.
const lostTimeout = 30 * time.Second

// lost notes that an attempt lacks an item, which its provider dispatched after the enumeration had ended as complete. The run fails, also if it has closed meanwhile.
func (s *Syncer) lost(ctx context.Context, run *postgres.Run, why error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lostTimeout)
	defer cancel()
	log := s.Log.With("run", run.ID, "attempt", run.Attempt, "provider", run.Provider)
	log.Error("an item is lost: the provider dispatched it after Sync had returned", "error", why)
	s.Metrics.failed(run.Provider)
	if err := s.Runs.Lose(ctx, run, foreign.Of(why)); err != nil {
		log.Error("could not note that an item is lost", "error", err)
	}
}
