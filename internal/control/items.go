package control

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
)

func (c runsAPI) listDead(ctx context.Context, q api.ListDeadItems) (api.DeadItemPage, error) {
	size, err := pageSize(q.Limit)
	if err != nil {
		return api.DeadItemPage{}, err
	}
	integration, err := c.lookupID(ctx, q.Integration)
	if err != nil {
		return api.DeadItemPage{}, err
	}
	before, err := parseBefore(q.Before)
	if err != nil {
		return api.DeadItemPage{}, err
	}
	rows, err := c.Store.DeadList(
		ctx, dbsqlc.DeadListParams{IntegrationID: integration, AllOfThem: q.All, Before: before, Most: int32(size) + 1},
	)
	if err != nil {
		return api.DeadItemPage{}, fmt.Errorf("list dead items: %w", err)
	}
	byID, err := names(ctx, c.Store, rows, func(row *dbsqlc.DeadListRow) uuid.UUID { return row.IntegrationID })
	if err != nil {
		return api.DeadItemPage{}, err
	}
	page := api.DeadItemPage{Items: make([]api.DeadItem, 0, len(rows))}
	for i, row := range rows {
		if i == size {
			page.Next = rows[i-1].ID.String()
			break
		}
		page.Items = append(page.Items, api.DeadItem{
			ID: row.ID.String(), Integration: byID[row.IntegrationID], IntegrationID: row.IntegrationID.String(),
			Provider: row.Provider,
			RunID:    row.RunID.String(), Attempt: row.Attempt, Batch: row.Batch, Index: row.ItemIndex,
			EventType: row.EventType, ExternalID: row.ExternalID, Reason: row.Reason.String(), Error: brief(row.Error),
			Tries: row.Tries, Status: row.Status, ResolvedBy: row.ResolvedBy.String(), Note: brief(row.Note),
			CreatedAt: row.CreatedAt, UpdatedAt: row.UpdatedAt,
		})
	}
	return page, nil
}

func (c runsAPI) showDead(ctx context.Context, q api.ByID) (api.DeadItem, error) {
	id, err := uuid.Parse(q.ID)
	if err != nil {
		return api.DeadItem{}, api.NotFoundf(
			"%q is not the id of a dead item; list them with: tributary items dead", q.ID,
		)
	}
	row, err := c.Store.DeadGet(ctx, id)
	if postgres.NotFound(err) {
		return api.DeadItem{}, api.NotFoundf("there is no dead item %s", id)
	}
	if err != nil {
		return api.DeadItem{}, fmt.Errorf("read dead item %s: %w", id, err)
	}
	byID, err := names(
		ctx, c.Store, []*postgres.DeadItem{row}, func(row *postgres.DeadItem) uuid.UUID { return row.IntegrationID },
	)
	if err != nil {
		return api.DeadItem{}, err
	}
	details := &api.DeadItemDetails{Checkpoint: textOf(row.Checkpoint), PayloadBytes: len(row.Payload)}
	if int64(len(row.Payload)) < c.Bus.Conn().MaxPayload()-replyRoom && json.Valid(row.Payload) {
		details.Payload = row.Payload
	}
	return api.DeadItem{
		ID: row.ID.String(), Integration: byID[row.IntegrationID], IntegrationID: row.IntegrationID.String(),
		Provider: row.Provider,
		RunID:    row.RunID.String(), Attempt: row.Attempt, Batch: row.Batch, Index: row.ItemIndex,
		EventType: row.EventType, ExternalID: row.ExternalID, Reason: row.Reason.String(), Error: row.Error.String(),
		Tries: row.Tries, Status: row.Status, ResolvedBy: row.ResolvedBy.String(), Note: row.Note.String(),
		CreatedAt: row.CreatedAt, UpdatedAt: row.UpdatedAt,
		Details: details,
	}, nil
}
