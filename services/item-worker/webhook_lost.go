package itemworker

import (
	"context"
	"time"

	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/redact"
)

// lostTimeout bounds how long a late call of Dispatch is held by writing down that its record is lost.
const lostTimeout = 30 * time.Second

// lost fails a delivery whose handler dispatched a record after it had returned. It is called by the goroutine that dispatches, maybe long after the delivery was
// finished.
func (c *call) lost(ctx context.Context, late error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lostTimeout)
	defer cancel()
	late = redact.New(nil, c.in).Error(late)
	log := c.Log.With("webhook", c.row.ID, "provider", c.row.Provider)
	log.Error("a record is lost: the webhook's handler dispatched it after it had returned", "error", late)
	if _, err := c.Store.WebhookLost(ctx, dbsqlc.WebhookLostParams{ID: c.row.ID, Attempt: c.row.Attempt, Error: foreign.Of(late), Now: c.Now()}); err != nil {
		log.Error("could not note that a record is lost", "error", err)
	}
}
