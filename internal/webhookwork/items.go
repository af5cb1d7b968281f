package webhookwork

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/handling"
	"github.com/tributaryhq/tributary/internal/items"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/redact"
	"github.com/tributaryhq/tributary/pkg/contracts"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// origin is the row of the webhook that dispatched items. Their outcomes are the webhook's.
type origin struct{ *call }

func (o origin) MaxTries() int { return o.Settings.Tries }

// IsWhole is true: a webhook that fails or waits is handled again, with all that it dispatches.
func (origin) IsWhole() bool { return true }

// Receive writes nothing: the row of the webhook tells that its items are finished.
func (origin) Receive(context.Context, *postgres.Tx, []*eventsv1.Item) error { return nil }

func (o origin) Name(event *eventsv1.RecordsChanged) { event.WebhookId = o.row.ID.String() }

// handleItems works on what was dispatched as on the items of a batch: in its order through the application's handlers,
// and together into the table of records. All are tried; the error that weighs most is the delivery's.
func (c *call) handleItems(ctx context.Context, dispatched []*eventsv1.Item) error {
	if len(dispatched) == 0 {
		return nil
	}
	if err := c.checkCheckpoints(ctx, dispatched); err != nil {
		return err
	}
	for i, item := range dispatched {
		item.Index, item.Tries, item.Deferrals = int32(i), c.row.Tries, c.row.Deferrals
	}
	batch := &eventsv1.ItemBatch{
		RunId: c.row.ID.String(), Attempt: c.row.Attempt, IntegrationId: c.row.IntegrationID.String(),
		Provider: c.row.Provider, Items: dispatched,
		FirstAt: timestamppb.New(c.Now()),
	}
	work := &handling.Work{Handlers: c.Handlers, Batch: batch, In: c.in, Provider: c.provider, Origin: origin{c}}
	if err := work.AwaitHandlers(ctx); err != nil {
		return err
	}
	results := work.Start(ctx, dispatched, nil).Wait() // the delivery has its slot, and the gate
	c.Crash("item-worker: webhook's items handled")
	if len(results) < len(dispatched) {
		return handling.ErrStopping
	}
	var worst error
	for _, r := range results {
		if weight(r.Err) > weight(worst) {
			worst = fmt.Errorf("%s %s: %w", r.Item.GetEventType(), r.Item.GetExternalId(), r.Err)
		}
	}
	return worst
}

// checkCheckpoints takes checkpoints off that must not count: as a record's version, one in the distant future would
// have all that comes later taken for older. After an error the items must not be used.
func (c *call) checkCheckpoints(ctx context.Context, dispatched []*eventsv1.Item) error {
	checker, ok := c.provider.(contracts.CheckpointChecker)
	if !ok {
		return nil
	}
	_, err := handling.Ask(ctx, c.Handlers, "the check of checkpoints", func() (struct{}, error) {
		for _, item := range dispatched {
			if err := items.DropOddCheckpoint(checker, item, c.Now()); err != nil {
				c.Log.Warn("a webhook's item has a checkpoint that does not count", "webhook", c.row.ID, "provider",
					c.row.Provider,
					"event", item.GetEventType(), "external_id", item.GetExternalId(), "error", err)
			}
		}
		return struct{}{}, nil
	})
	return err
}

// weight orders errors: a permanent one decides, and a failure before a deferral. A skipped item is done.
func weight(err error) int {
	_, skipped := contracts.AsSkip(err)
	_, deferred := contracts.AsDeferral(err)
	switch {
	case err == nil, skipped:
		return 0
	case contracts.IsPermanent(err):
		return 3
	case deferred:
		return 1
	default:
		return 2
	}
}

// lostTimeout bounds how long a late call of Dispatch is held by writing down that its record is lost.
const lostTimeout = 30 * time.Second

// lost fails a delivery whose handler dispatched a record after it had returned. It is called by the goroutine that
// dispatches, maybe long after the delivery was finished.
func (c *call) lost(ctx context.Context, late error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lostTimeout)
	defer cancel()
	late = redact.New(nil, c.in).Error(late)
	log := c.Log.With("webhook", c.row.ID, "provider", c.row.Provider)
	log.Error("a record is lost: the webhook's handler dispatched it after it had returned", "error", late)
	if _, err := c.Store.WebhookLost(ctx, dbsqlc.WebhookLostParams{
		ID: c.row.ID, Attempt: c.row.Attempt,
		Error: foreign.Of(late), Now: c.Now(),
	}); err != nil {
		log.Error("could not note that a record is lost", "error", err)
	}
}
