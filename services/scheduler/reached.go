package scheduler

import (
	"context"
	"fmt"

	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/postgres"
)

// reached is how far an attempt has come: how many items it has, and how many of them are in which state.
type reached struct {
	items, duplicates int64
	checkpoint.Counts
}

// reached returns the numbers of an attempt as far as this scheduler has seen the bucket, and whether its total is known.
func (t *tracker) reached(key attemptKey) (r reached, total bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	progress, seen := t.attempts[key]
	if !seen {
		return reached{}, false
	}
	r = reached{items: progress.Items(), duplicates: progress.Total().GetDuplicates(), Counts: progress.Counts()}
	return r, progress.Total() != nil
}

// reached returns the numbers that a run keeps when it is cancelled. The rows of dead items count, and not the bucket:
// an item that was dead may be resolved or skipped by now.
func (s *Scheduler) reached(ctx context.Context, tx *postgres.Tx, run *postgres.Run) (reached, error) {
	r, total := s.tracked.reached(attemptOf(run))
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
