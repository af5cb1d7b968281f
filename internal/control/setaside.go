package control

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/setaside"
)

type setAsideAPI struct{ *Control }

func (c setAsideAPI) routes() []api.Route {
	return []api.Route{
		{Endpoint: api.OutboxList, Answer: api.Takes(c.list)},
		{Endpoint: api.OutboxRetry, Answer: api.Takes(c.retry)},
		{Endpoint: api.OutboxDrop, Answer: api.Takes(c.drop)},
	}
}

func (c setAsideAPI) list(ctx context.Context, q api.ListSetAside) (api.SetAsidePage, error) {
	size, err := pageSize(q.Limit)
	if err != nil {
		return api.SetAsidePage{}, err
	}
	if err := checkKind(q.Kind); err != nil {
		return api.SetAsidePage{}, err
	}
	p := dbsqlc.SetAsideListParams{Kind: q.Kind, AllOfThem: q.All, Most: int32(size) + 1}
	if p.Before, err = parseBefore(q.Before); err != nil {
		return api.SetAsidePage{}, err
	}
	rows, err := c.Store.SetAsideList(ctx, p)
	if err != nil {
		return api.SetAsidePage{}, fmt.Errorf("list what is set aside: %w", err)
	}
	page := api.SetAsidePage{SetAside: make([]api.SetAside, 0, len(rows))}
	for i, row := range rows {
		if i == size {
			page.Next = rows[i-1].ID.String()
			break
		}
		page.SetAside = append(page.SetAside, setAsideReply(row))
	}
	return page, nil
}

func setAsideReply(row *dbsqlc.SetAside) api.SetAside {
	reply := api.SetAside{
		ID: row.ID.String(), Kind: row.Kind, Key: row.Key, About: row.About, Status: "failing", Tries: row.Tries,
		Error:       row.Error.String(),
		FailedFirst: row.FailedFirst, FailedLast: row.FailedLast, NextTryAt: &row.NextTryAt, DroppedBy: row.DroppedBy,
		DropReason: row.DropReason,
	}
	if row.IntegrationID != nil {
		reply.IntegrationID = row.IntegrationID.String()
	}
	switch {
	case row.DroppedAt != nil:
		reply.Status, reply.NextTryAt = "dropped", nil
	case row.SetAsideAt != nil:
		reply.Status = "set-aside"
	}
	return reply
}

// retry has work that is set aside tried again: by this scheduler at once, by others with their next sweep.
func (c setAsideAPI) retry(ctx context.Context, q api.RetrySetAside) (api.Retried, error) {
	if (q.ID == "") != q.All || q.Kind != "" && !q.All {
		return api.Retried{}, api.Invalidf("give the id of what is set aside, or all, with or without a kind")
	}
	if err := checkKind(q.Kind); err != nil {
		return api.Retried{}, err
	}
	retried := 1
	if q.All {
		var err error
		if retried, err = c.SetAside.RetryAll(ctx, setaside.Kind(q.Kind)); err != nil {
			return api.Retried{}, err
		}
	} else {
		id, err := setAsideID(q.ID)
		if err != nil {
			return api.Retried{}, err
		}
		if _, err := c.SetAside.Retry(ctx, id); err != nil {
			return api.Retried{}, explainSetAside(q.ID, err)
		}
	}
	c.Log.Info("work that is set aside is retried", "id", q.ID, "kind", q.Kind, "elements", retried, "by", q.By)
	c.Scheduler.Kick()
	return api.Retried{Retried: retried}, nil
}

func (c setAsideAPI) drop(ctx context.Context, q api.DropSetAside) (api.SetAside, error) {
	id, err := setAsideID(q.ID)
	if err != nil {
		return api.SetAside{}, err
	}
	if q.Reason == "" || q.By == "" {
		return api.SetAside{}, api.Invalidf("say who drops it (by) and why (reason)")
	}
	row, err := c.SetAside.Drop(ctx, id, q.By, q.Reason)
	if err != nil {
		return api.SetAside{}, explainSetAside(q.ID, err)
	}
	return setAsideReply(row), nil
}

// checkKind refuses a kind of work that does not exist. Empty means all kinds.
func checkKind(kind string) error {
	if kinds := setaside.Kinds(); kind != "" && !slices.Contains(kinds, setaside.Kind(kind)) {
		return api.Invalidf("no kind of work is %q; the kinds are %s", kind, listed(kinds))
	}
	return nil
}

func setAsideID(text string) (uuid.UUID, error) {
	id, err := uuid.Parse(text)
	if err != nil {
		return uuid.Nil, api.NotFoundf(
			"%q is not the id of anything that is set aside; list it with: tributary outbox list", text,
		)
	}
	return id, nil
}

func explainSetAside(id string, err error) error {
	switch {
	case errors.Is(err, setaside.ErrUnknown):
		return api.NotFoundf("nothing with the id %s is set aside; it may have been done meanwhile", id)
	case errors.Is(err, setaside.ErrDropped):
		return &api.Error{Code: api.Refused, Message: fmt.Sprintf("%s was dropped before", id)}
	}
	return err
}
