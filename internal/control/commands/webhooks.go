package commands

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// replay makes webhooks pending again, with all their tries.
func (e *Executor) replay(
	ctx context.Context, tx *postgres.Tx, in *postgres.Integration, c *eventsv1.Command,
) (*reply, error) {
	p := dbsqlc.WebhookReplayParams{
		IntegrationID: in.ID, FailedOnly: c.GetFailed(), Since: timeOf(c.GetSince()), Until: timeOf(c.GetUntil()),
		Now: e.Now(),
	}
	if c.GetWebhook() != "" {
		row, err := e.webhook(ctx, tx, in, c.GetWebhook())
		if err != nil {
			return nil, err
		}
		if row.Status == "pending" || row.Status == "processing" {
			return nil, reject("webhook %s is %s: it is handled anyway", row.ID, row.Status)
		}
		p.ID = &row.ID
	}
	replayed, err := tx.WebhookReplay(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("replay webhooks: %w", err)
	}
	if replayed == 0 {
		return nil, reject("there is no such webhook to replay")
	}
	return &reply{result: fmt.Sprintf("replaying %d webhooks", replayed)}, nil
}

// skipWebhook gives up a failed webhook.
func (e *Executor) skipWebhook(
	ctx context.Context, tx *postgres.Tx, in *postgres.Integration, c *eventsv1.Command,
) (*reply, error) {
	row, err := e.webhook(ctx, tx, in, c.GetWebhook())
	if err != nil {
		return nil, err
	}
	now := e.Now()
	skipped, err := tx.WebhookSkip(
		ctx,
		dbsqlc.WebhookSkipParams{
			ID: row.ID, IntegrationID: in.ID, ResolvedBy: foreign.Word(c.GetBy()), Reason: foreign.Line(c.GetReason()),
			Now: &now,
		},
	)
	if err != nil {
		return nil, fmt.Errorf("skip webhook %s: %w", row.ID, err)
	}
	if skipped == 0 {
		return nil, reject("webhook %s is %s, only a failed one can be skipped", row.ID, row.Status)
	}
	return &reply{result: "skipped"}, nil
}

func (e *Executor) webhook(
	ctx context.Context, tx *postgres.Tx, in *postgres.Integration, name string,
) (*postgres.Webhook, error) {
	id, err := uuid.Parse(name)
	if err != nil {
		return nil, reject("%q is not the id of a webhook; list them with: tributary webhooks list", name)
	}
	row, err := tx.WebhookGet(ctx, id)
	if postgres.NotFound(err) || err == nil && row.IntegrationID != in.ID {
		return nil, reject("the integration has no webhook %s", id)
	}
	if err != nil {
		return nil, fmt.Errorf("read webhook %s: %w", id, err)
	}
	return row, nil
}

// timeOf parses a time of a command, which was validated before.
func timeOf(text string) *time.Time {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return nil
	}
	return &at
}
