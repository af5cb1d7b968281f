package control

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/health"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

type healthAPI struct{ *Control }

func (c healthAPI) routes() []api.Route {
	return []api.Route{
		{Endpoint: api.HealthList, Answer: api.Takes(c.list)},
		{Endpoint: api.StatsList, Answer: api.Takes(c.stats)},
	}
}

// routesOf are the routes that need a provider's code.
func (c healthAPI) routesOf(provider string) []api.Route {
	return []api.Route{
		{Endpoint: api.HealthShow, Provider: provider, Answer: api.Takes(c.show)},
		{Endpoint: api.HealthTest, Provider: provider, Answer: api.Takes(c.test)},
	}
}

func (c healthAPI) list(ctx context.Context, q api.ListIntegrations) (api.HealthPage, error) {
	rows, next, err := c.page(ctx, q)
	if err != nil {
		return api.HealthPage{}, err
	}
	page := api.HealthPage{Integrations: make([]api.Health, 0, len(rows)), Next: next}
	for _, row := range rows {
		page.Integrations = append(page.Integrations, healthReply(row))
	}
	return page, nil
}

func (c healthAPI) show(ctx context.Context, q api.ByIntegration) (api.Health, error) {
	row, err := c.lookup(ctx, q.Integration)
	if err != nil {
		return api.Health{}, err
	}
	reply := healthReply(row)
	reply.Reason, reply.LastError = row.HealthReason.String(), row.LastError.String()
	open, err := c.Store.IncidentGetOpen(ctx, row.ID)
	if err != nil && !postgres.NotFound(err) {
		return api.Health{}, fmt.Errorf("look for an open incident: %w", err)
	}
	if err == nil {
		reply.Incident = open.ID.String()
	}
	identity, err := c.Health.Identity(ctx, row)
	if err != nil {
		// The rest is shown without the identity. The upstream's text may be long.
		reply.IdentityProblem = brief(foreign.Of(err))
	}
	reply.Identity = identityReply(identity)
	return reply, nil
}

func (c healthAPI) test(ctx context.Context, q api.ByIntegration) (api.TestResult, error) {
	row, err := c.lookup(ctx, q.Integration)
	if err != nil {
		return api.TestResult{}, err
	}
	started := time.Now()
	told, err := c.Health.Check(ctx, row)
	if postgres.Unavailable(err) {
		return api.TestResult{}, err
	}
	if told != nil {
		err = told
	}
	reply := api.TestResult{
		Integration: row.Name, Provider: row.Provider, Result: "passed", TookMS: time.Since(started).Milliseconds(),
	}
	switch _, deferred := contracts.AsDeferral(err); {
	case err == nil:
		return reply, nil
	case errors.Is(err, health.ErrNotCheckable):
		reply.Result = "unsupported"
	case deferred:
		reply.Result = "deferred"
	default:
		reply.Result = "failed"
	}
	reply.Error = foreign.Of(err).String()
	return reply, nil
}

func healthReply(row *postgres.Integration) api.Health {
	return api.Health{
		Integration: row.Name, IntegrationID: row.ID.String(), Provider: row.Provider, Status: row.Status,
		Health: row.Health, Reason: brief(row.HealthReason),
		Since: row.HealthSince, ConsecutiveFailures: row.ConsecutiveFailures,
		ConsecutiveRefusals: row.ConsecutiveRefusals,
		LastError:           brief(row.LastError), LastErrorAt: row.LastErrorAt, NextProbeAt: row.ProbeAt,
		FailureRateSince: row.FailureRateSince,
		LastSyncedAt:     row.LastSyncedAt, StaleSince: row.StaleSince,
	}
}

func identityReply(identity *contracts.Identity) *api.Identity {
	if identity == nil {
		return nil
	}
	return &api.Identity{ID: identity.ID, Username: identity.Username, Name: identity.Name, Email: identity.Email}
}

func (c healthAPI) stats(ctx context.Context, q api.ListIntegrations) (api.StatsPage, error) {
	rows, next, err := c.page(ctx, q)
	if err != nil {
		return api.StatsPage{}, err
	}
	ids, at := make([]uuid.UUID, 0, len(rows)), make(map[uuid.UUID]*api.Stats, len(rows))
	page := api.StatsPage{Integrations: make([]api.Stats, len(rows)), Next: next}
	for i, row := range rows {
		page.Integrations[i] = api.Stats{
			Integration: row.Name, Provider: row.Provider, Operations: map[string]map[string]int64{},
		}
		ids, at[row.ID] = append(ids, row.ID), &page.Integrations[i]
	}
	now := c.Now()
	for _, window := range []struct {
		since time.Duration
		of    func(*api.Stats) *api.RequestStats
	}{
		{24 * time.Hour, func(s *api.Stats) *api.RequestStats { return &s.Day }},
		{7 * 24 * time.Hour, func(s *api.Stats) *api.RequestStats { return &s.Week }},
		{30 * 24 * time.Hour, func(s *api.Stats) *api.RequestStats { return &s.Month }},
	} {
		counts, err := c.Store.RequestCountSum(ctx, now.Add(-window.since), ids)
		if err != nil {
			return api.StatsPage{}, fmt.Errorf("add up requests: %w", err)
		}
		for _, count := range counts {
			*window.of(at[count.IntegrationID]) = requestStats(count)
		}
	}
	operations, err := c.Store.OperationCount(ctx, ids, now.Add(-7*24*time.Hour))
	if err != nil {
		return api.StatsPage{}, fmt.Errorf("count operations: %w", err)
	}
	for _, row := range operations {
		of := at[row.IntegrationID].Operations
		if of[row.Operation] == nil {
			of[row.Operation] = map[string]int64{}
		}
		of[row.Operation][row.Status] = row.Operations
	}
	return page, nil
}

func requestStats(count *dbsqlc.RequestCountSumRow) api.RequestStats {
	stats := api.RequestStats{
		Failed:   count.Upstream + count.Throttle + count.Client + count.Unknown,
		Upstream: count.Upstream, Throttle: count.Throttle, Client: count.Client, Unknown: count.Unknown,
		Cached: count.Cached,
	}
	if stats.Requests = count.Succeeded + stats.Failed; stats.Requests > 0 {
		stats.AverageMS = float64(count.DurationMs) / float64(stats.Requests)
	}
	return stats
}

// knownIdentity is the identity that was stored when the upstream was last asked. It needs no code of the provider.
func knownIdentity(row *postgres.Integration) *api.Identity {
	return identityReply(health.KnownIdentity(row))
}
