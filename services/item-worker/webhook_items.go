package itemworker

import (
	"context"

	"github.com/tributaryhq/tributary/internal/postgres"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// ofWebhook is the origin of items that a webhook dispatched. Their outcomes are the webhook's.
type ofWebhook struct{ *call }

func (o ofWebhook) maxTries() int { return o.Settings.Webhooks.Tries }

// awaitHandlers lets all pass: this was asked before any handler was called, see [work.lacksHandlers].
func (ofWebhook) awaitHandlers(_ context.Context, items []*eventsv1.Item) (rest []*eventsv1.Item, waiting []handled) {
	return items, nil
}

// insists is true: all handlers of a webhook that is handed back are called again.
func (ofWebhook) insists() bool { return true }

// receive writes nothing: the row of the webhook tells that its items are finished.
func (ofWebhook) receive(context.Context, *postgres.Tx, []*eventsv1.Item) error { return nil }

func (o ofWebhook) name(event *eventsv1.RecordsChanged) { event.WebhookId = o.row.ID.String() }
