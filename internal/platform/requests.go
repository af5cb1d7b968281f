package platform

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/requestlog"
)

// requestStore has the request log in Postgres.
type requestStore struct{ writer *postgres.RequestWriter }

func (s requestStore) InsertRequests(ctx context.Context, rows []requestlog.Row) error {
	var p dbsqlc.RequestInsertManyParams
	for _, r := range rows {
		p.Ids, p.CreatedAts, p.FirstIds = append(p.Ids, r.ID), append(p.CreatedAts, r.At), append(p.FirstIds, r.First)
		p.IntegrationIds, p.Providers = append(p.IntegrationIds, idOf(r.Integration)), append(p.Providers, r.Provider)
		p.RunIds, p.Items, p.Webhooks = append(p.RunIds, idOf(r.Origin.Run)), append(p.Items, r.Origin.Item),
			append(p.Webhooks, r.Origin.Webhook)
		p.Attempts, p.IdempotencyKeys = append(p.Attempts, int32(r.Attempt)),
			append(p.IdempotencyKeys, r.IdempotencyKey)
		p.Methods, p.Hosts = append(p.Methods, r.Method), append(p.Hosts, r.Host)
		p.Paths, p.Queries = append(p.Paths, r.Path), append(p.Queries, r.Query)
		p.Statuses, p.FailureClasses = append(p.Statuses, int32(r.Status)), append(p.FailureClasses, string(r.Class))
		p.Errors, p.UpstreamIds, p.Durations = append(p.Errors, r.Error), append(p.UpstreamIds, r.UpstreamID),
			append(p.Durations, r.Duration)
		p.RequestHeaders, p.ResponseHeaders = append(p.RequestHeaders, r.RequestHeader),
			append(p.ResponseHeaders, r.ResponseHeader)
		p.RequestBodies, p.ResponseBodies = append(p.RequestBodies, r.RequestBody),
			append(p.ResponseBodies, r.ResponseBody)
		p.RequestByteCounts, p.ResponseByteCounts = append(p.RequestByteCounts, r.RequestBytes),
			append(p.ResponseByteCounts, r.ResponseBytes)
		p.RequestCuts, p.ResponseCuts = append(p.RequestCuts, r.RequestCut), append(p.ResponseCuts, r.ResponseCut)
		p.BodiesDropped = append(p.BodiesDropped, r.BodiesDropped)
	}
	err := s.writer.Write(ctx, p)
	if postgres.RefusesRow(err) {
		return fmt.Errorf("%w: %w", requestlog.ErrRowRefused, err)
	}
	return err
}

// idOf is an id as the database has it, nil where there is none.
func idOf(text string) uuid.UUID {
	id, err := uuid.Parse(text)
	if err != nil {
		return uuid.Nil
	}
	return id
}
