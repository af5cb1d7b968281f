package syncer

import (
	"context"
	"fmt"
	"time"

	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/health"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
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
	reason := foreign.Of(why)
	err := s.Store.InTx(ctx, func(tx *postgres.Tx) error {
		integration, err := tx.IntegrationLock(ctx, run.IntegrationID)
		if postgres.NotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		closed, err := tx.RunLost(ctx, dbsqlc.RunLostParams{ID: run.ID, Attempt: run.Attempt, Lost: reason})
		if postgres.NotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		return health.Raise(ctx, tx, integration, health.Signal{
			Source: health.SourceProvider, Severity: health.Failing, Reason: foreign.Line(fmt.Sprintf("run %s: %s", closed.ID, reason)),
		}, s.Now())
	})
	if err != nil {
		log.Error("could not note that an item is lost", "error", err)
	}
}
