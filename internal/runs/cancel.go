package runs

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/runstate"
)

// reached is how far an attempt has come: how many items it has, how many of them are in which state, and why some were
// skipped.
type reached struct {
	items, duplicates int64
	checkpoint.Counts
	skips checkpoint.Reasons
}

// bucketTimeout is how long the bucket may take to tell of a run's items.
const bucketTimeout = 2 * time.Second

// seen returns the numbers of a run's attempt that the bucket has. A scheduler that has just started has not heard of
// all of it, and reads the attempt.
func (s *Store) seen(ctx context.Context, run *postgres.Run) (reached, bool) {
	if s.Tracker.Live() {
		return s.Tracker.reached(NewestAttempt(run))
	}
	bounded, cancel := context.WithTimeout(ctx, bucketTimeout)
	defer cancel()
	var progress checkpoint.Progress
	if err := s.Checkpoints.ReadAll(bounded, run.ID.String(), run.Attempt, progress.Apply); err != nil {
		s.Log.Warn("the numbers of a run are those that this scheduler has heard of", "run", run.ID, "error", err)
		return s.Tracker.reached(NewestAttempt(run))
	}
	return numbersOf(&progress), progress.Total() != nil
}

func numbersOf(p *checkpoint.Progress) reached {
	return reached{items: p.Items(), duplicates: p.Total().GetDuplicates(), Counts: p.Counts(), skips: p.Skips()}
}

// reached returns the numbers that a run keeps when it is cancelled. The rows of dead items count, and not the bucket:
// an item that was dead may be resolved or skipped by now.
func (s *Store) reached(ctx context.Context, tx *postgres.Tx, run *postgres.Run) (reached, error) {
	r, total := s.seen(ctx, run)
	rows, err := tx.DeadOfAttempt(ctx, run.ID, run.Attempt)
	if err != nil {
		return reached{}, fmt.Errorf("read dead items of run %s: %w", run.ID, err)
	}
	r.Dead = 0
	for _, row := range rows {
		switch row.Status {
		case "resolved":
			r.Done++
		case "skipped":
			r.Skipped++
			r.skips.Add(row.Note.String())
		default:
			r.Dead++
		}
	}
	if total {
		// A later delivery may have done an item after its row was written.
		r.Dead = max(min(r.Dead, r.items-r.Done-r.Skipped), 0)
	}
	r.items = max(r.items, r.Finished(), run.Items)
	r.duplicates = max(r.duplicates, run.Duplicates)
	return r, nil
}

// storedSkips is how a run keeps the reasons of its skipped items; null where there are none.
func storedSkips(reasons checkpoint.Reasons) (json.RawMessage, error) {
	list := reasons.List()
	if len(list) == 0 {
		return nil, nil
	}
	return json.Marshal(list)
}

// Cancel closes a run in the caller's transaction, and opens the one that was to follow it.
func (s *Store) Cancel(ctx context.Context, tx *postgres.Tx, integration *postgres.Integration, run *postgres.Run,
	why foreign.Text, now time.Time,
) error {
	reached, err := s.reached(ctx, tx, run)
	if err != nil {
		return err
	}
	skips, err := storedSkips(reached.skips)
	if err != nil {
		return err
	}
	closed, err := tx.RunClose(ctx, dbsqlc.RunCloseParams{
		ID: run.ID, Attempt: run.Attempt, State: runstate.Cancelled, Error: why, Items: reached.items,
		Done: reached.Done, Dead: reached.Dead, Skipped: reached.Skipped,
		SkipReasons: skips, Duplicates: reached.duplicates, Now: &now, ResolvedAt: &now, Resolution: runstate.Resolved,
	})
	if err != nil {
		return fmt.Errorf("cancel run %s: %w", run.ID, err)
	}
	if err := tx.ReceiptDelete(ctx, run.ID); err != nil {
		return fmt.Errorf("delete receipts of run %s: %w", run.ID, err)
	}
	if _, err := tx.DeadSupersedeRuns(ctx, now, []uuid.UUID{run.ID}); err != nil {
		return fmt.Errorf("supersede dead items of run %s: %w", run.ID, err)
	}
	next := now.Add(s.Interval(integration))
	if err := tx.IntegrationSetNextSync(ctx, &next, integration.ID); err != nil {
		return fmt.Errorf("set the next sync: %w", err)
	}
	m, err := logEnd(ctx, tx, integration, closed, now)
	if err != nil {
		return err
	}
	if err := tx.Publish(ctx, now, m); err != nil {
		return err
	}
	return s.followUp(ctx, tx, integration.ID, closed, now)
}
