package control

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
)

type requestsAPI struct{ *Control }

func (c requestsAPI) routes() []api.Route {
	return []api.Route{
		{Endpoint: api.RequestsList, Answer: api.Takes(c.list)},
		{Endpoint: api.RequestsShow, Answer: api.Takes(c.show)},
		{Endpoint: api.RequestsKeys, Answer: api.Takes(c.keys)},
		{Endpoint: api.RequestsResolve, Answer: api.Takes(c.resolveKey)},
	}
}

func (c requestsAPI) list(ctx context.Context, q api.ListRequests) (api.RequestPage, error) {
	size, err := pageSize(q.Limit)
	if err != nil {
		return api.RequestPage{}, err
	}
	params := dbsqlc.RequestListParams{
		Item: q.Item, Webhook: q.Webhook, IdempotencyKey: q.IdempotencyKey, Failed: q.Failed, FailureClass: q.Class,
		Most: int32(size) + 1,
	}
	if params.IntegrationID, err = c.lookupID(ctx, q.Integration); err != nil {
		return api.RequestPage{}, err
	}
	if params.Before, err = parseBefore(q.Before); err != nil {
		return api.RequestPage{}, err
	}
	if classes := []string{"", "upstream", "throttle", "client", "unknown"}; !slices.Contains(classes, q.Class) {
		return api.RequestPage{}, api.Invalidf("no failure is %q; they are %s", q.Class, listed(classes[1:]))
	}
	if q.Run != "" {
		run, err := uuid.Parse(q.Run)
		if err != nil {
			return api.RequestPage{}, api.Invalidf("%q is not the id of a run", q.Run)
		}
		params.RunID = &run
	}
	if q.Status != 0 {
		params.Status = &q.Status
	}
	if q.Since != nil {
		params.Since = *q.Since
	}
	rows, err := c.Store.RequestList(ctx, params)
	if err != nil {
		return api.RequestPage{}, fmt.Errorf("list requests: %w", err)
	}
	byID, err := names(ctx, c.Store, rows, func(row *dbsqlc.RequestListRow) uuid.UUID { return row.IntegrationID })
	if err != nil {
		return api.RequestPage{}, err
	}
	page := api.RequestPage{Requests: make([]api.Request, 0, len(rows))}
	for i, row := range rows {
		if i == size {
			page.Next = rows[i-1].ID.String()
			break
		}
		page.Requests = append(page.Requests, api.Request{
			ID: row.ID.String(), Integration: byID[row.IntegrationID], IntegrationID: row.IntegrationID.String(),
			Provider: row.Provider, RunID: idText(row.RunID), Item: row.Item,
			Webhook: row.Webhook, Attempt: row.Attempt, FirstID: row.FirstID.String(),
			IdempotencyKey: row.IdempotencyKey, Method: row.Method, Host: row.Host, Path: row.Path,
			Query: row.Query, Status: row.Status, FailureClass: row.FailureClass, Error: brief(row.Error),
			UpstreamID: row.UpstreamID, DurationMS: milliseconds(row.Duration),
			RequestBytes: row.RequestBytes, ResponseBytes: row.ResponseBytes, CreatedAt: row.CreatedAt,
		})
	}
	return page, nil
}

func (c requestsAPI) show(ctx context.Context, q api.ByID) (api.Request, error) {
	id, err := uuid.Parse(q.ID)
	if err != nil {
		return api.Request{}, api.NotFoundf(
			"%q is not the id of a request; list them with: tributary requests list", q.ID,
		)
	}
	row, err := c.Store.RequestGet(ctx, id)
	if postgres.NotFound(err) {
		return api.Request{}, api.NotFoundf("there is no request %s", id)
	}
	if err != nil {
		return api.Request{}, fmt.Errorf("read request %s: %w", id, err)
	}
	byID, err := names(
		ctx, c.Store, []*dbsqlc.Request{row}, func(row *dbsqlc.Request) uuid.UUID { return row.IntegrationID },
	)
	if err != nil {
		return api.Request{}, err
	}
	attempts, err := c.Store.RequestAttempts(ctx, row.FirstID)
	if err != nil {
		return api.Request{}, fmt.Errorf("read the attempts of request %s: %w", id, err)
	}
	details := &api.RequestDetails{
		RequestHeader: json.RawMessage(row.RequestHeader), ResponseHeader: json.RawMessage(row.ResponseHeader),
		RequestBody: row.RequestBody, ResponseBody: row.ResponseBody,
		RequestCut: row.RequestCut, ResponseCut: row.ResponseCut, BodiesDropped: row.BodiesDropped,
		Attempts: []api.RequestAttempt{},
	}
	for _, a := range attempts {
		details.Attempts = append(details.Attempts, api.RequestAttempt{
			ID: a.ID.String(), Attempt: a.Attempt, Status: a.Status, FailureClass: a.FailureClass,
			Error: brief(a.Error), DurationMS: milliseconds(a.Duration), CreatedAt: a.CreatedAt,
		})
	}
	// A header that Postgres refused is stored empty.
	for _, header := range []*json.RawMessage{&details.RequestHeader, &details.ResponseHeader} {
		if !json.Valid(*header) {
			*header = json.RawMessage("{}")
		}
	}
	return api.Request{
		ID: row.ID.String(), Integration: byID[row.IntegrationID], IntegrationID: row.IntegrationID.String(),
		Provider: row.Provider, RunID: idText(row.RunID), Item: row.Item,
		Webhook: row.Webhook, Attempt: row.Attempt, FirstID: row.FirstID.String(), IdempotencyKey: row.IdempotencyKey,
		Method: row.Method, Host: row.Host, Path: row.Path,
		Query: row.Query, Status: row.Status, FailureClass: row.FailureClass, Error: row.Error.String(),
		UpstreamID: row.UpstreamID, DurationMS: milliseconds(row.Duration),
		RequestBytes: row.RequestBytes, ResponseBytes: row.ResponseBytes, CreatedAt: row.CreatedAt, Details: details,
	}, nil
}

func (c requestsAPI) keys(ctx context.Context, q api.ListKeys) (api.KeyPage, error) {
	size, err := pageSize(q.Limit)
	if err != nil {
		return api.KeyPage{}, err
	}
	if q.Skip < 0 || q.Skip > math.MaxInt32 {
		return api.KeyPage{}, api.Invalidf("skip is %d, it can be 0 to %d", q.Skip, math.MaxInt32)
	}
	integration, err := c.lookupID(ctx, q.Integration)
	if err != nil {
		return api.KeyPage{}, err
	}
	rows, err := c.Store.KeyList(ctx, dbsqlc.KeyListParams{
		IntegrationID: integration, Key: q.Key, AllOfThem: q.All, Now: c.Now(), Most: int32(size), Skip: int32(q.Skip),
	})
	if err != nil {
		return api.KeyPage{}, fmt.Errorf("list idempotency keys: %w", err)
	}
	byID, err := names(ctx, c.Store, rows, func(row *dbsqlc.KeyListRow) uuid.UUID { return row.IntegrationID })
	if err != nil {
		return api.KeyPage{}, err
	}
	page := api.KeyPage{Keys: make([]api.IdempotencyKey, 0, len(rows))}
	for _, row := range rows {
		page.Keys = append(page.Keys, api.IdempotencyKey{
			Integration: byID[row.IntegrationID], IntegrationID: row.IntegrationID.String(), Provider: row.Provider,
			Key: row.Key, Hop: row.Hop, State: row.State,
			LeaseUntil: row.LeaseUntil, RequestID: idText(row.RequestID), Recoverable: row.Recoverable,
			Error: brief(row.Error), ResolvedBy: row.ResolvedBy.String(),
			CreatedAt: row.CreatedAt, UpdatedAt: row.UpdatedAt,
		})
	}
	return page, nil
}

func (c requestsAPI) resolveKey(ctx context.Context, q api.ResolveKey) (struct{}, error) {
	if q.As != postgres.KeySucceeded && q.As != postgres.KeyFailed {
		return struct{}{}, api.Invalidf("a key is resolved as succeeded or failed, not %q", q.As)
	}
	if q.By == "" {
		return struct{}{}, api.Invalidf("who resolves the key is not said")
	}
	integration, err := c.lookup(ctx, q.Integration)
	if err != nil {
		return struct{}{}, err
	}
	resolved, err := c.Store.KeyResolve(ctx, dbsqlc.KeyResolveParams{
		IntegrationID: integration.ID, Key: q.Key, State: q.As, ResolvedBy: foreign.Word(q.By),
		Note: foreign.Clean(q.Note, briefly), Now: c.Now(),
	})
	if err != nil {
		return struct{}{}, fmt.Errorf("resolve an idempotency key: %w", err)
	}
	if len(resolved) == 0 {
		return struct{}{}, c.unresolved(ctx, integration, q.Key)
	}
	c.Log.Info(
		"idempotency key resolved", "integration", integration.Name, "provider", integration.Provider, "as", q.As, "by",
		q.By,
	)
	return struct{}{}, nil
}

// unresolved returns why a key could not be resolved.
func (c requestsAPI) unresolved(ctx context.Context, integration *postgres.Integration, key string) error {
	rows, err := c.Store.KeyList(
		ctx, dbsqlc.KeyListParams{IntegrationID: &integration.ID, Key: key, AllOfThem: true, Now: c.Now(), Most: 1},
	)
	switch {
	case err != nil:
		return fmt.Errorf("look for an idempotency key: %w", err)
	case len(rows) == 0:
		return api.NotFoundf("integration %q has no idempotency key %q", integration.Name, key)
	}
	return refusedf(
		"the outcome of this key's request is known, or the request is under way; see: tributary requests keys --all",
	)
}

func idText(id *uuid.UUID) string {
	if id == nil {
		return ""
	}
	return id.String()
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
