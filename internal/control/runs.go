package control

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
)

const (
	// waitingShown bounds the waiting items that are shown of a run.
	waitingShown = 100
	// bucketTimeout bounds the reading of a run's waiting items from the bucket.
	bucketTimeout = 2 * time.Second
)

type runsAPI struct{ *Control }

func (c runsAPI) routes() []api.Route {
	return []api.Route{
		{Endpoint: api.RunsList, Answer: api.Takes(c.list)},
		{Endpoint: api.RunsShow, Answer: api.Takes(c.show)},
		{Endpoint: api.ItemsDead, Answer: api.Takes(c.listDead)},
		{Endpoint: api.ItemsShow, Answer: api.Takes(c.showDead)},
	}
}

func (c runsAPI) list(ctx context.Context, q api.ListRuns) (api.RunPage, error) {
	size, err := pageSize(q.Limit)
	if err != nil {
		return api.RunPage{}, err
	}
	integration, err := c.lookupID(ctx, q.Integration)
	if err != nil {
		return api.RunPage{}, err
	}
	before, err := parseBefore(q.Before)
	if err != nil {
		return api.RunPage{}, err
	}
	rows, err := c.Store.RunList(
		ctx, dbsqlc.RunListParams{IntegrationID: integration, OpenOnly: q.Open, Before: before, Most: int32(size) + 1},
	)
	if err != nil {
		return api.RunPage{}, fmt.Errorf("list runs: %w", err)
	}
	byID, err := names(ctx, c.Store, rows, func(row *postgres.Run) uuid.UUID { return row.IntegrationID })
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
			run.Progress = c.progress(row)
		}
		page.Runs = append(page.Runs, run)
	}
	return page, nil
}

func (c runsAPI) show(ctx context.Context, q api.ByID) (api.Run, error) {
	id, err := uuid.Parse(q.ID)
	if err != nil {
		return api.Run{}, api.NotFoundf("%q is not the id of a run; list them with: tributary runs list", q.ID)
	}
	row, err := c.Store.RunGet(ctx, id)
	if postgres.NotFound(err) {
		return api.Run{}, api.NotFoundf("there is no run %s", id)
	}
	if err != nil {
		return api.Run{}, fmt.Errorf("read run %s: %w", id, err)
	}
	byID, err := names(
		ctx, c.Store, []*postgres.Run{row}, func(row *postgres.Run) uuid.UUID { return row.IntegrationID },
	)
	if err != nil {
		return api.Run{}, err
	}
	run := runReply(row)
	run.Integration = byID[row.IntegrationID]
	if run.SkipReasons, err = c.skipReasons(row); err != nil {
		return api.Run{}, err
	}
	if row.ClosedAt == nil {
		run.Progress = c.progress(row)
		run.Waiting = c.waiting(ctx, row)
	}
	return run, nil
}

// progress returns how far a run's attempt has come, as far as this scheduler has seen.
func (c runsAPI) progress(run *postgres.Run) *api.Progress {
	reply := &api.Progress{}
	c.Runs.Tracker.Progress(run, func(p *checkpoint.Progress) {
		counts := p.Counts()
		*reply = api.Progress{
			Finished: counts.Finished(), Done: counts.Done, Skipped: counts.Skipped, Dead: counts.Dead,
			Retrying: counts.Retrying,
		}
		if p.Total() != nil {
			items := p.Items()
			reply.Total = &items
		}
	})
	return reply
}

// skipReasons returns why items of a run were skipped. A closed run has them in its row; of an open run, they are as
// far as this scheduler has seen.
func (c runsAPI) skipReasons(run *postgres.Run) (reasons []api.SkipReason, err error) {
	if run.ClosedAt == nil {
		c.Runs.Tracker.Progress(run, func(p *checkpoint.Progress) {
			skips := p.Skips()
			for _, s := range skips.List() {
				reasons = append(reasons, api.SkipReason{Reason: s.Text.String(), Items: s.Items})
			}
		})
		return reasons, nil
	}
	if len(run.SkipReasons) == 0 {
		return nil, nil
	}
	if err := json.Unmarshal(run.SkipReasons, &reasons); err != nil {
		return nil, fmt.Errorf("read why items of run %s were skipped: %w", run.ID, err)
	}
	return reasons, nil
}

func runReply(row *postgres.Run) api.Run {
	run := api.Run{
		ID: row.ID.String(), IntegrationID: row.IntegrationID.String(), Provider: row.Provider, Mode: row.Mode,
		Cause: row.Cause, State: row.State,
		Attempt: row.Attempts, Items: row.Items, Done: row.Done, Dead: row.Dead, Skipped: row.Skipped,
		Duplicates: row.Duplicates, Error: row.Error.String(),
		WaitingUntil: row.WaitingUntil, CreatedAt: row.CreatedAt, ClosedAt: row.ClosedAt, Resolution: row.Resolution,
		ResolvedAt: row.ResolvedAt,
	}
	if row.FollowUp != nil {
		run.FollowUp = *row.FollowUp
	}
	return run
}

// waiting reads the items of an open run that wait for another try from the bucket. If the bucket does not answer, the
// run is shown without them.
func (c runsAPI) waiting(ctx context.Context, run *postgres.Run) []api.WaitingItem {
	ctx, cancel := context.WithTimeout(ctx, bucketTimeout)
	defer cancel()
	var entries []checkpoint.Key
	c.Runs.Tracker.Progress(
		run, func(p *checkpoint.Progress) { entries = p.Waiting(run.ID.String(), run.Attempt, waitingShown) },
	)
	waiting, err := c.Checkpoints.ReadWaiting(ctx, entries, waitingShown)
	if err != nil {
		c.Log.Warn("a run is shown without the items that wait", "run", run.ID, "error", err)
	}
	if len(waiting) == 0 {
		return nil
	}
	items := make([]api.WaitingItem, 0, len(waiting))
	for _, w := range waiting {
		item := api.WaitingItem{
			Batch: w.Batch, Index: w.Index, Error: foreign.Clean(w.Why, checkpoint.MaxReason).String(),
			EventType:  w.Wait.GetEventType(),
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
