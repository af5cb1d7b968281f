package runs

import (
	"context"
	"fmt"
	"time"

	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/wire"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// Wake makes open runs due again as their next attempts, in the caller's transaction. A run that has changed since it
// was read is left as it is.
func (s *Store) Wake(ctx context.Context, tx *postgres.Tx, now time.Time, runs ...*postgres.Run) error {
	return wake(ctx, tx, now, nil, runs...)
}

// Resume is Wake for a run that waited while its integration was not active: the window of its enumerations begins
// anew.
func (s *Store) Resume(ctx context.Context, tx *postgres.Tx, now time.Time, run *postgres.Run) error {
	return wake(ctx, tx, now, &now, run)
}

// Redrive is Wake in a transaction of its own, which locks the run and asks whether it still wants to be woken. It
// reports whether the run was woken.
func (s *Store) Redrive(ctx context.Context, run *postgres.Run, now time.Time, wants func(locked *postgres.Run) bool) (
	woken bool, err error,
) {
	err = s.Postgres.InTx(ctx, func(tx *postgres.Tx) error {
		woken = false
		locked, err := tx.RunLock(ctx, run.ID)
		if err != nil || locked.ClosedAt != nil || locked.Attempt != run.Attempt || !wants(locked) {
			return err
		}
		woken = true
		return wake(ctx, tx, now, nil, locked)
	})
	return woken && err == nil, err
}

func wake(ctx context.Context, tx *postgres.Tx, now time.Time, windowFrom *time.Time, runs ...*postgres.Run) error {
	messages := make([]postgres.Outgoing, 0, len(runs))
	for _, run := range runs {
		woken, err := tx.RunWake(ctx, dbsqlc.RunWakeParams{
			ID: run.ID, Attempt: run.Attempt, Wake: run.Wake, Now: now,
			WindowFrom: windowFrom,
		})
		if postgres.NotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("wake run %s: %w", run.ID, err)
		}
		due, err := dueMessage(woken)
		if err != nil {
			return err
		}
		messages = append(messages, due)
	}
	return tx.Publish(ctx, now, messages...)
}

// dueMessage asks for the run's next attempt. Its id has the wake in it, for the broker drops an id that it has seen.
func dueMessage(run *postgres.Run) (postgres.Outgoing, error) {
	// Syncers of older versions start this attempt; newer ones compare the wake.
	attempt := run.Attempt + 1
	m, err := wire.NewWork(wire.SyncDueSubject(run.Provider, run.IntegrationID.String()),
		fmt.Sprintf("%s/%d/%d", run.ID, attempt, run.Wake),
		&eventsv1.SyncDue{
			RunId: run.ID.String(), IntegrationId: run.IntegrationID.String(), Provider: run.Provider,
			Attempt: attempt, Wake: run.Wake,
		})
	if err == nil && run.Trace != "" {
		m.Header[traceHeader] = run.Trace
	}
	return postgres.Outgoing(m), err
}
