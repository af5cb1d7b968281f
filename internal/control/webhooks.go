package control

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
)

type webhooksAPI struct{ *Control }

func (c webhooksAPI) routes() []api.Route {
	return []api.Route{
		{Endpoint: api.WebhooksList, Answer: api.Takes(c.list)},
		{Endpoint: api.WebhooksShow, Answer: api.Takes(c.show)},
	}
}

func (c webhooksAPI) list(ctx context.Context, q api.ListWebhooks) (api.WebhookPage, error) {
	size, err := pageSize(q.Limit)
	if err != nil {
		return api.WebhookPage{}, err
	}
	statuses := []string{"", "pending", "processing", "processed", "ignored", "failed", "skipped"}
	if !slices.Contains(statuses, q.Status) {
		return api.WebhookPage{}, api.Invalidf("no webhook is %q; they are %s", q.Status, listed(statuses[1:]))
	}
	integration, err := c.lookupID(ctx, q.Integration)
	if err != nil {
		return api.WebhookPage{}, err
	}
	before, err := parseBefore(q.Before)
	if err != nil {
		return api.WebhookPage{}, err
	}
	rows, err := c.Store.WebhookList(
		ctx,
		dbsqlc.WebhookListParams{IntegrationID: integration, Status: q.Status, Before: before, Most: int32(size) + 1},
	)
	if err != nil {
		return api.WebhookPage{}, fmt.Errorf("list webhooks: %w", err)
	}
	page := api.WebhookPage{Webhooks: make([]api.Webhook, 0, len(rows))}
	for i, row := range rows {
		if i == size {
			page.Next = rows[i-1].ID.String()
			break
		}
		reply := api.Webhook{
			ID: row.ID.String(), Integration: row.IntegrationName, IntegrationID: row.IntegrationID.String(),
			Provider: row.Provider, DeliveryID: row.DeliveryID,
			EventType: row.EventType, Status: row.Status, Tries: row.Tries, Replays: row.Replays,
			Reason: brief(row.Reason), Error: brief(row.Error),
			BodyBytes: row.BodyBytes, ReceivedAt: row.ReceivedAt, FinishedAt: row.FinishedAt,
		}
		if row.Status == "pending" {
			reply.NextTryAt, reply.WaitingFor = &row.NextTryAt, row.WaitingFor
		}
		page.Webhooks = append(page.Webhooks, reply)
	}
	return page, c.orderOf(ctx, page.Webhooks)
}

// orderOf fills in the older webhook that each pending one waits for.
func (c webhooksAPI) orderOf(ctx context.Context, webhooks []api.Webhook) error {
	at := map[uuid.UUID]int{}
	var ids []uuid.UUID
	for i, h := range webhooks {
		if id, err := uuid.Parse(h.ID); err == nil && h.Status == "pending" {
			at[id], ids = i, append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	rows, err := c.Store.WebhookBehind(ctx, ids)
	if err != nil {
		return fmt.Errorf("ask what webhooks wait for: %w", err)
	}
	for _, row := range rows {
		webhooks[at[row.ID]].Behind = row.Behind.String()
	}
	return nil
}

func (c webhooksAPI) show(ctx context.Context, q api.ByID) (api.Webhook, error) {
	id, err := uuid.Parse(q.ID)
	if err != nil {
		return api.Webhook{}, api.NotFoundf(
			"%q is not the id of a webhook; list them with: tributary webhooks list", q.ID,
		)
	}
	row, err := c.Store.WebhookGet(ctx, id)
	if postgres.NotFound(err) {
		return api.Webhook{}, api.NotFoundf("there is no webhook %s", id)
	}
	if err != nil {
		return api.Webhook{}, fmt.Errorf("read webhook %s: %w", id, err)
	}
	byID, err := names(
		ctx, c.Store, []*postgres.Webhook{row}, func(row *postgres.Webhook) uuid.UUID { return row.IntegrationID },
	)
	if err != nil {
		return api.Webhook{}, err
	}
	details := &api.WebhookDetails{
		Method: row.Method, Path: row.Path, Query: row.Query, Result: row.Result, OrderingKey: row.OrderingKey.String(),
		ResolvedBy: row.ResolvedBy.String(), StartedAt: row.StartedAt,
	}
	if err := json.Unmarshal(row.Headers, &details.Headers); err != nil {
		return api.Webhook{}, fmt.Errorf("read the headers of webhook %s: %w", id, err)
	}
	if int64(len(row.Body)) < c.Bus.Conn().MaxPayload()-replyRoom && utf8.Valid(row.Body) {
		details.Body = string(row.Body)
	}
	reply := api.Webhook{
		ID: row.ID.String(), Integration: byID[row.IntegrationID], IntegrationID: row.IntegrationID.String(),
		Provider: row.Provider, DeliveryID: row.DeliveryID,
		EventType: row.EventType, Status: row.Status, Tries: row.Tries, Replays: row.Replays,
		Reason: row.Reason.String(), Error: row.Error.String(),
		BodyBytes: int32(len(row.Body)), ReceivedAt: row.ReceivedAt, FinishedAt: row.FinishedAt, Details: details,
	}
	one := []api.Webhook{reply}
	if row.Status == "pending" {
		one[0].NextTryAt, one[0].WaitingFor = &row.NextTryAt, row.WaitingFor
	}
	return one[0], c.orderOf(ctx, one)
}
