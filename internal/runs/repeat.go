package runs

import (
	"context"
	"fmt"
	"time"

	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/health"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/runstate"
)

// repeat starts the next attempt of a run at once, which enumerates everything again, and opens an incident. A standby
// was promoted, or a backup restored, that lacked what had been committed.
func (s *Store) repeat(ctx context.Context, run *postgres.Run, why error) (repeated bool, err error) {
	err = s.Postgres.InTx(ctx, func(tx *postgres.Tx) error {
		repeated = false
		integration, err := tx.IntegrationLock(ctx, run.IntegrationID)
		if err != nil {
			return fmt.Errorf("lock integration %s: %w", run.IntegrationID, err)
		}
		locked, err := tx.RunLock(ctx, run.ID)
		if err != nil {
			return fmt.Errorf("lock run %s: %w", run.ID, err)
		}
		if locked.ClosedAt != nil || locked.Attempt != run.Attempt || locked.State == runstate.Due {
			return nil
		}
		repeated = true
		now := s.Now()
		reason := foreign.Line(fmt.Sprintf("run %s: %s; it is repeated", run.ID, why))
		if err := health.Raise(ctx, tx, integration, health.Signal{
			Source:   health.SourceDatabase,
			Severity: health.Degraded, Reason: reason,
		}, now); err != nil {
			return err
		}
		return wake(ctx, tx, now, nil, locked)
	})
	if err != nil || !repeated {
		return false, err
	}
	s.Log.Error("Postgres went back to an earlier state; the run is repeated", "run", run.ID, "provider", run.Provider,
		"attempt", run.Attempts, "error", why)
	return true, nil
}

// believed deletes the receipts of a closing run, and closes the incidents that it has shown to be over. A note about
// its checkpoints opens one.
func (s *Store) believed(ctx context.Context, tx *postgres.Tx, integration *postgres.Integration, run *postgres.Run,
	note string, now time.Time,
) error {
	if err := tx.ReceiptDelete(ctx, run.ID); err != nil {
		return fmt.Errorf("delete receipts of run %s: %w", run.ID, err)
	}
	if note != "" {
		reason := foreign.Line(fmt.Sprintf("run %s: %s", run.ID, note))
		if err := health.Raise(ctx, tx, integration, health.Signal{
			Source:   health.SourceProvider,
			Severity: health.Degraded, Reason: reason,
		}, now); err != nil {
			return err
		}
	} else if run.State == runstate.Succeeded {
		if err := health.Clear(ctx, tx, integration, health.SourceProvider, "a sync was clean", now); err != nil {
			return err
		}
	}
	if run.Attempts == 1 {
		return nil
	}
	return health.Clear(ctx, tx, integration, health.SourceDatabase, foreign.Line("run "+run.ID.String()+" is closed"),
		now)
}
