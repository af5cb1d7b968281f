package scheduler

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/postgres"
)

// reached is how far an attempt has come: how many items it has, how many of them are in which state, and why some were
// skipped.
type reached struct {
	items, duplicates int64
	checkpoint.Counts
	skips checkpoint.Reasons
}

// reached returns the numbers of an attempt as far as this scheduler has seen the bucket, and whether its total is known.
func (t *tracker) reached(key attemptKey) (r reached, total bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	progress, seen := t.attempts[key]
	if !seen {
		return reached{}, false
	}
	return numbersOf(progress), progress.Total() != nil
}

// bucketTimeout is how long the bucket may take to tell of a run's items.
const bucketTimeout = 2 * time.Second

// seen returns the numbers of a run's attempt that the bucket has. A scheduler that has just started has not heard of all
// of it, and reads the attempt.
func (s *Scheduler) seen(ctx context.Context, run *postgres.Run) (reached, bool) {
	if s.tracked.live.Load() {
		return s.tracked.reached(attemptOf(run))
	}
	bounded, cancel := context.WithTimeout(ctx, bucketTimeout)
	defer cancel()
	var progress checkpoint.Progress
	if err := s.Checkpoints.ReadAll(bounded, run.ID.String(), run.Attempt, progress.Apply); err != nil {
		s.Log.Warn("the numbers of a run are those that this scheduler has heard of", "run", run.ID, "error", err)
		return s.tracked.reached(attemptOf(run))
	}
	return numbersOf(&progress), progress.Total() != nil
}

func numbersOf(p *checkpoint.Progress) reached {
	return reached{items: p.Items(), duplicates: p.Total().GetDuplicates(), Counts: p.Counts(), skips: p.Skips()}
}

// reached returns the numbers that a run keeps when it is cancelled. The rows of dead items count, and not the bucket:
// an item that was dead may be resolved or skipped by now.
func (s *Scheduler) reached(ctx context.Context, tx *postgres.Tx, run *postgres.Run) (reached, error) {
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
