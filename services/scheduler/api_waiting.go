package scheduler

import (
	"context"
	"time"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/foreign"
)

const (
	// waitingShown is how many waiting items of a run are shown.
	waitingShown = 100
	// bucketTimeout is how long the bucket may take to tell of a run's items.
	bucketTimeout = 2 * time.Second
)

// waiting returns items of an open run that wait for another try. The bucket has them, and the tracker knows which of
// its entries to read. A run is shown without them when the bucket does not answer.
func (s *Scheduler) waiting(ctx context.Context, key attemptKey) []api.WaitingItem {
	ctx, cancel := context.WithTimeout(ctx, bucketTimeout)
	defer cancel()
	waiting, err := s.Checkpoints.ReadWaiting(ctx, s.tracked.waiting(key), waitingShown)
	if err != nil {
		s.Log.Warn("a run is shown without the items that wait", "run", key.run, "error", err)
	}
	if len(waiting) == 0 {
		return nil
	}
	items := make([]api.WaitingItem, 0, len(waiting))
	for _, w := range waiting {
		item := api.WaitingItem{
			Batch: w.Batch, Index: w.Index, Error: foreign.Clean(w.Why, checkpoint.MaxReason).String(), EventType: w.Wait.GetEventType(),
			ExternalID: w.Wait.GetExternalId(), Tries: w.Wait.GetTries(),
		}
		if until := w.Wait.GetUntil(); until > 0 {
			at := time.Unix(until, 0).UTC()
			item.Until = &at
		}
		items = append(items, item)
	}
	return items
}

// waiting returns the entries that tell of an attempt's waiting items.
func (t *tracker) waiting(key attemptKey) []checkpoint.Key {
	t.mu.Lock()
	defer t.mu.Unlock()
	if progress := t.attempts[key]; progress != nil {
		return progress.Waiting(key.run, key.attempt, waitingShown)
	}
	return nil
}
