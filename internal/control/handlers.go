package control

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
)

// handlerGone is the time without an announcement after which no worker has the handler. Workers announce their
// handlers every minute.
const handlerGone = 3 * time.Minute

type handlersAPI struct{ *Control }

func (c handlersAPI) routes() []api.Route {
	return []api.Route{
		{Endpoint: api.HandlersList, Answer: api.Takes(c.list)},
		{Endpoint: api.HandlersForget, Answer: api.Takes(c.forget)},
	}
}

func (c handlersAPI) list(ctx context.Context, q api.ListHandlers) (api.HandlerPage, error) {
	size, err := pageSize(q.Limit)
	if err != nil {
		return api.HandlerPage{}, err
	}
	p := dbsqlc.HandledTypeListParams{Provider: q.Provider, Most: int32(size) + 1}
	if q.After != nil {
		p.AfterProvider, p.AfterKind, p.AfterEventType = q.After.Provider, q.After.Kind, q.After.EventType
	}
	rows, err := c.Store.HandledTypeList(ctx, p)
	if err != nil {
		return api.HandlerPage{}, fmt.Errorf("list handlers: %w", err)
	}
	page := api.HandlerPage{Handlers: make([]api.Handler, 0, len(rows))}
	for i, row := range rows {
		if i == size {
			page.Next = &page.Handlers[i-1]
			break
		}
		page.Handlers = append(page.Handlers, handlerReply(row))
	}
	return page, nil
}

func handlerReply(row *dbsqlc.HandledType) api.Handler {
	return api.Handler{
		Provider: row.Provider, Kind: row.Kind, EventType: row.EventType, Since: row.Since, SeenAt: row.SeenAt,
	}
}

// forget deletes the announcement of a handler. It is refused while a worker announces the handler, because the worker
// would announce it again. Items that wait for the handler are woken and stored as records; webhooks are ignored.
func (c handlersAPI) forget(ctx context.Context, q api.ForgetHandler) (api.Handler, error) {
	kind := cmp.Or(q.Kind, api.ItemHandler)
	switch {
	case q.Provider == "" || q.EventType == "" || q.By == "":
		return api.Handler{}, api.Invalidf(
			"say which handler is forgotten (provider, event_type) and who forgets it (by)",
		)
	case kind != api.ItemHandler && kind != api.WebhookHandler:
		return api.Handler{}, api.Invalidf("the kind is %s or %s", api.ItemHandler, api.WebhookHandler)
	}
	var row *dbsqlc.HandledType
	now := c.Now()
	err := c.Store.InTx(ctx, func(tx *postgres.Tx) (err error) {
		row, err = tx.HandledTypeForget(ctx, dbsqlc.HandledTypeForgetParams{
			Provider: q.Provider, Kind: kind, EventType: q.EventType, SeenBefore: now.Add(-handlerGone),
		})
		if err != nil {
			return err
		}
		return tx.WaitsEndForHandlers(ctx, now, []string{q.Provider})
	})
	if postgres.NotFound(err) {
		return api.Handler{}, c.explainForget(ctx, q, kind)
	}
	if err != nil {
		return api.Handler{}, fmt.Errorf("forget a handler: %w", err)
	}
	c.Log.Info("a handler is forgotten", "provider", row.Provider, "kind", kind, "event", row.EventType, "by", q.By)
	return handlerReply(row), nil
}

// explainForget returns why no announcement was deleted.
func (c handlersAPI) explainForget(ctx context.Context, q api.ForgetHandler, kind string) error {
	known, err := c.Store.HandledTypesAmong(
		ctx, dbsqlc.HandledTypesAmongParams{Provider: q.Provider, Kind: kind, EventTypes: []string{q.EventType}},
	)
	switch {
	case err != nil:
		return fmt.Errorf("look for a handler: %w", err)
	case len(known) == 0:
		return api.NotFoundf(
			"no worker has had a handler of the kind %s for %s of %s; list them with: tributary handlers list", kind,
			q.EventType, q.Provider,
		)
	}
	return &api.Error{Code: api.Refused, Message: fmt.Sprintf(
		"a worker has announced its handler for %s within the last %s, and would do so again: "+
			"stop the workers that have it first", q.EventType, handlerGone)}
}
