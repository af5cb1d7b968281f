package scheduler

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
)

const (
	// briefly is how many bytes of an error a list shows, so that a page fits into a message.
	briefly = 300
	// replyRoom is what the rest of a reply may need beside a payload.
	replyRoom = 64 << 10
)

func (s *Scheduler) listRuns(ctx context.Context, q api.ListRuns) (api.RunPage, error) {
	size, err := pageSize(q.Limit)
	if err != nil {
		return api.RunPage{}, err
	}
	integration, err := s.lookupID(ctx, q.Integration)
	if err != nil {
		return api.RunPage{}, err
	}
	before, err := parseBefore(q.Before)
	if err != nil {
		return api.RunPage{}, err
	}
	rows, err := s.Store.RunList(ctx, dbsqlc.RunListParams{IntegrationID: integration, OpenOnly: q.Open, Before: before, Most: int32(size) + 1})
	if err != nil {
		return api.RunPage{}, fmt.Errorf("list runs: %w", err)
	}
	byID, err := names(ctx, s.Store, rows, func(row *postgres.Run) uuid.UUID { return row.IntegrationID })
	if err != nil {
		return api.RunPage{}, err
	}
	page := api.RunPage{Runs: make([]api.Run, 0, len(rows))}
	for i, row := range rows {
		if i == size {
			page.Next = rows[i-1].ID.String()
			break
		}
		run := runReply(row)
		run.Integration, run.Error = byID[row.IntegrationID], brief(run.Error)
		if row.ClosedAt == nil {
			run.Progress = s.tracked.progress(attemptOf(row))
		}
		page.Runs = append(page.Runs, run)
	}
	return page, nil
}

func (s *Scheduler) showRun(ctx context.Context, q api.ByID) (api.Run, error) {
	id, err := uuid.Parse(q.ID)
	if err != nil {
		return api.Run{}, notFoundf("%q is not the id of a run; list them with: tributary runs list", q.ID)
	}
	row, err := s.Store.RunGet(ctx, id)
	if postgres.NotFound(err) {
		return api.Run{}, notFoundf("there is no run %s", id)
	}
	if err != nil {
		return api.Run{}, fmt.Errorf("read run %s: %w", id, err)
	}
	byID, err := names(ctx, s.Store, []*postgres.Run{row}, func(row *postgres.Run) uuid.UUID { return row.IntegrationID })
	if err != nil {
		return api.Run{}, err
	}
	run := runReply(row)
	run.Integration = byID[row.IntegrationID]
	if run.SkipReasons, err = s.skipReasons(row); err != nil {
		return api.Run{}, err
	}
	if row.ClosedAt == nil {
		run.Progress = s.tracked.progress(attemptOf(row))
		run.Waiting = s.waiting(ctx, attemptOf(row))
	}
	return run, nil
}

// progress returns how far an attempt has come, as far as this scheduler has seen.
func (t *tracker) progress(key attemptKey) *api.Progress {
	r, total := t.reached(key)
	reply := &api.Progress{Finished: r.Finished(), Done: r.Done, Skipped: r.Skipped, Dead: r.Dead, Retrying: r.Retrying}
	if total {
		reply.Total = &r.items
	}
	return reply
}

func (s *Scheduler) listDead(ctx context.Context, q api.ListDeadItems) (api.DeadItemPage, error) {
	size, err := pageSize(q.Limit)
	if err != nil {
		return api.DeadItemPage{}, err
	}
	integration, err := s.lookupID(ctx, q.Integration)
	if err != nil {
		return api.DeadItemPage{}, err
	}
	before, err := parseBefore(q.Before)
	if err != nil {
		return api.DeadItemPage{}, err
	}
	rows, err := s.Store.DeadList(ctx, dbsqlc.DeadListParams{IntegrationID: integration, AllOfThem: q.All, Before: before, Most: int32(size) + 1})
	if err != nil {
		return api.DeadItemPage{}, fmt.Errorf("list dead items: %w", err)
	}
	byID, err := names(ctx, s.Store, rows, func(row *dbsqlc.DeadListRow) uuid.UUID { return row.IntegrationID })
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
			ID: row.ID.String(), Integration: byID[row.IntegrationID], IntegrationID: row.IntegrationID.String(), Provider: row.Provider,
			RunID: row.RunID.String(), Attempt: row.Attempt, Batch: row.Batch, Index: row.ItemIndex, EventType: row.EventType, ExternalID: row.ExternalID, Reason: row.Reason.String(), Error: brief(row.Error),
			Tries: row.Tries, Status: row.Status, ResolvedBy: row.ResolvedBy.String(), Note: brief(row.Note), CreatedAt: row.CreatedAt, UpdatedAt: row.UpdatedAt,
		})
	}
	return page, nil
}

func (s *Scheduler) showDead(ctx context.Context, q api.ByID) (api.DeadItem, error) {
	id, err := uuid.Parse(q.ID)
	if err != nil {
		return api.DeadItem{}, notFoundf("%q is not the id of a dead item; list them with: tributary items dead", q.ID)
	}
	row, err := s.Store.DeadGet(ctx, id)
	if postgres.NotFound(err) {
		return api.DeadItem{}, notFoundf("there is no dead item %s", id)
	}
	if err != nil {
		return api.DeadItem{}, fmt.Errorf("read dead item %s: %w", id, err)
	}
	byID, err := names(ctx, s.Store, []*postgres.DeadItem{row}, func(row *postgres.DeadItem) uuid.UUID { return row.IntegrationID })
	if err != nil {
		return api.DeadItem{}, err
	}
	details := &api.DeadItemDetails{Checkpoint: textOf(row.Checkpoint), PayloadBytes: len(row.Payload)}
	if int64(len(row.Payload)) < s.Bus.Conn().MaxPayload()-replyRoom && json.Valid(row.Payload) {
		details.Payload = row.Payload
	}
	return api.DeadItem{
		ID: row.ID.String(), Integration: byID[row.IntegrationID], IntegrationID: row.IntegrationID.String(), Provider: row.Provider,
		RunID: row.RunID.String(), Attempt: row.Attempt, Batch: row.Batch, Index: row.ItemIndex, EventType: row.EventType, ExternalID: row.ExternalID, Reason: row.Reason.String(), Error: row.Error.String(),
		Tries: row.Tries, Status: row.Status, ResolvedBy: row.ResolvedBy.String(), Note: row.Note.String(), CreatedAt: row.CreatedAt, UpdatedAt: row.UpdatedAt,
		Details: details,
	}, nil
}

// names are the names of the integrations that rows belong to.
func names[Row any](ctx context.Context, store *postgres.Store, rows []Row, integrationOf func(Row) uuid.UUID) (map[uuid.UUID]string, error) {
	ids := map[uuid.UUID]struct{}{}
	for _, row := range rows {
		ids[integrationOf(row)] = struct{}{}
	}
	found, err := store.IntegrationNames(ctx, slices.Collect(maps.Keys(ids)))
	if err != nil {
		return nil, fmt.Errorf("read the names of integrations: %w", err)
	}
	byID := make(map[uuid.UUID]string, len(found))
	for _, row := range found {
		byID[row.ID] = row.Name
	}
	return byID, nil
}

func runReply(row *postgres.Run) api.Run {
	run := api.Run{
		ID: row.ID.String(), IntegrationID: row.IntegrationID.String(), Provider: row.Provider, Mode: row.Mode, Cause: row.Cause, State: row.State,
		Attempt: row.Attempts, Items: row.Items, Done: row.Done, Dead: row.Dead, Skipped: row.Skipped, Duplicates: row.Duplicates, Error: row.Error.String(),
		WaitingUntil: row.WaitingUntil, CreatedAt: row.CreatedAt, ClosedAt: row.ClosedAt, Resolution: row.Resolution, ResolvedAt: row.ResolvedAt,
	}
	if row.FollowUp != nil {
		run.FollowUp = *row.FollowUp
	}
	return run
}

// brief is the beginning of a long text, for lists.
func brief[T ~string](text T) string { return foreign.Clean(string(text), briefly).String() }
