package webhookwork

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/bus"
)

// lateLook is the question whether Postgres still has a webhook that was stored before, and since when.
type lateLook struct {
	id    uuid.UUID
	found bool
	since time.Time
}

// lookLate looks for the row of a webhook, together with others. Known says that it is there; then the error is what
// decides about the message, see [bus.AckAfter].
func (w *Worker) lookLate(ctx context.Context, id uuid.UUID) (known bool, err error) {
	look := &lateLook{id: id}
	if err := w.looks.Add(ctx, look); err != nil {
		return false, err
	}
	if !look.found {
		return false, nil
	}
	if err = bus.AckAfter(w.Bus.Timing().LagBound, look.since, w.Now()); err == nil {
		w.Crash("item-worker: webhook found late")
	}
	return true, err
}

// look answers questions with one query.
func (w *Worker) look(ctx context.Context, looks []*lateLook) error {
	ids := make([]uuid.UUID, 0, len(looks))
	for _, look := range looks {
		ids = append(ids, look.id)
	}
	rows, err := w.Store.WebhookStored(ctx, ids)
	if err != nil {
		return fmt.Errorf("look for %d webhooks: %w", len(ids), err)
	}
	since := map[uuid.UUID]time.Time{}
	for _, row := range rows {
		since[row.ID] = row.StoredAt
	}
	for _, look := range looks {
		look.since, look.found = since[look.id]
	}
	return nil
}
