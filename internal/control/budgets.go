package control

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/budget"
	"github.com/tributaryhq/tributary/internal/control/overrides"
	"github.com/tributaryhq/tributary/internal/deferral"
	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// longestWindow is the longest window of a budget. What is spent is kept for a quarter of a year, and two windows have
// to fit.
const longestWindow = 31 * 24 * time.Hour

func (w *integrationWriter) setRateLimit(ctx context.Context, q api.SetRateLimit) (api.RateLimitStatus, error) {
	window, err := time.ParseDuration(q.Window)
	if err != nil {
		return api.RateLimitStatus{}, api.Invalidf(`window is %q, it must be a duration such as "1m"`, q.Window)
	}
	limit := &contracts.RateLimit{Limit: q.Limit, Window: window, IsSliding: q.Sliding}
	if err := limit.Validate(); err != nil {
		return api.RateLimitStatus{}, api.Invalidf("%v", err)
	}
	if window > longestWindow || q.Limit > 1<<30 {
		return api.RateLimitStatus{}, api.Invalidf(
			"a budget has a window of at most %s and at most %d requests", longestWindow, 1<<30,
		)
	}
	if err := w.inFuture(q.Until); err != nil {
		return api.RateLimitStatus{}, err
	}
	count := int32(q.Limit)
	p := dbsqlc.IntegrationSetRateParams{
		RateLimit: &count, RateWindow: &window, RateSliding: q.Sliding, RateUntil: q.Until,
	}
	if _, err := w.changeRate(ctx, q.Integration, p, "rate-limit-set", q.By); err != nil {
		return api.RateLimitStatus{}, err
	}
	return w.showRateLimit(ctx, api.ByIntegration{Integration: q.Integration})
}

func (w *integrationWriter) clearRateLimit(ctx context.Context, q api.ClearRateLimit) (api.RateLimitStatus, error) {
	named, err := w.lookup(ctx, q.Integration)
	if err != nil {
		return api.RateLimitStatus{}, err
	}
	sharing, err := w.sharing(ctx, named)
	if err != nil {
		w.Log.Warn("could not find the integrations that share a budget; what they wait for is lifted, "+
			"and they find it later",
			"integration", q.Integration, "error", err)
	}
	lifted := append(sharing, named.ID)
	found, err := w.changeRate(
		ctx, q.Integration, dbsqlc.IntegrationSetRateParams{}, "rate-limit-cleared", q.By, lifted...,
	)
	if err != nil {
		return api.RateLimitStatus{}, err
	}
	w.lift(ctx, found)
	return w.showRateLimit(ctx, api.ByIntegration{Integration: q.Integration})
}

// lift clears the wait that an upstream has asked for, so that requests are sent again.
func (w *integrationWriter) lift(ctx context.Context, row *postgres.Integration) {
	in, err := w.Health.Integrations.Load(ctx, row.ID, row.Version)
	if err == nil {
		err = w.Budgets.Lift(ctx, w.provider, in)
	}
	if err != nil {
		w.Log.Warn("could not lift what an upstream has asked for", "integration", row.Name, "error", err)
	}
}

// sharing lists the other integrations that share the upstream's budget with this one and may have work that waits for
// it.
func (w *integrationWriter) sharing(ctx context.Context, row *postgres.Integration) (ids []uuid.UUID, err error) {
	if _, shares := w.provider.(contracts.BudgetKeyer); !shares {
		return nil, nil
	}
	in, err := w.Health.Integrations.Load(ctx, row.ID, row.Version)
	if err != nil {
		return nil, err
	}
	others, err := w.Store.IntegrationsThatMayWait(ctx, w.key)
	if err != nil {
		return nil, fmt.Errorf("list integrations that may wait: %w", err)
	}
	for _, other := range others {
		loaded, err := w.Health.Integrations.Load(ctx, other.ID, other.Version)
		if postgres.NotFound(err) || other.ID == row.ID {
			continue
		}
		if err != nil {
			return ids, err
		}
		shared, err := budget.Shared(w.provider, in, loaded)
		if err != nil {
			return ids, err
		}
		if shared {
			ids = append(ids, other.ID)
		}
	}
	return ids, nil
}

// changeRate changes the budget of an integration. For the integrations in lifted, it also ends the waits for the
// budget and the waits that the upstream has asked for.
func (w *integrationWriter) changeRate(
	ctx context.Context, name string, p dbsqlc.IntegrationSetRateParams, what, by string, lifted ...uuid.UUID,
) (found *postgres.Integration, err error) {
	err = w.locked(ctx, name, func(tx *postgres.Tx, row *postgres.Integration) error {
		found = row
		if err := overrides.SetBudget(ctx, tx, row, overrides.Budget{Set: p, What: what, By: by}, w.Now()); err != nil {
			return err
		}
		for _, id := range lifted {
			for _, cause := range []deferral.Cause{deferral.Budget, deferral.Patience} {
				if err := tx.WaitsEnd(
					ctx, dbsqlc.WaitsEndParams{IntegrationID: id, Cause: string(cause), Now: w.Now()},
				); err != nil {
					return fmt.Errorf("end waits of %s: %w", id, err)
				}
			}
		}
		return nil
	})
	if err == nil {
		w.Log.Info("budget changed", "integration", name, "provider", w.key, "what", what, "by", by)
	}
	return found, err
}

// showRateLimit needs the provider, which knows its own budget and the key by which its upstream counts requests.
func (w *integrationWriter) showRateLimit(ctx context.Context, q api.ByIntegration) (api.RateLimitStatus, error) {
	row, err := w.lookup(ctx, q.Integration)
	if err != nil {
		return api.RateLimitStatus{}, err
	}
	if row.Provider != w.key {
		return api.RateLimitStatus{}, api.Invalidf("integration %q is of provider %q", row.Name, row.Provider)
	}
	limit, err := panics.Compute("the provider's budget", func() (*contracts.RateLimit, error) {
		return budget.LimitOf(w.provider), nil
	})
	if err != nil {
		return api.RateLimitStatus{}, err
	}
	reply := api.RateLimitStatus{Integration: row.Name, Source: "none", Provider: budgetReply(limit)}
	if limit != nil {
		reply.Source = "provider"
	}
	if row.RateLimit != nil && row.RateWindow != nil && (row.RateUntil == nil || w.Now().Before(*row.RateUntil)) {
		limit = &contracts.RateLimit{Limit: int(*row.RateLimit), Window: *row.RateWindow, IsSliding: row.RateSliding}
		reply.Source, reply.Until = "override", row.RateUntil
	}
	reply.Limit = budgetReply(limit)
	in, err := w.Health.Integrations.Load(ctx, row.ID, row.Version)
	if err != nil {
		return api.RateLimitStatus{}, err
	}
	status, err := w.Budgets.Status(ctx, w.provider, in, limit)
	if errors.Is(err, panics.ErrLeftBehind) {
		return reply, err
	}
	if err != nil {
		w.Log.Warn("could not read a budget", "integration", row.Name, "error", err)
		return reply, &api.Error{
			Code: api.Unavailable, Message: "what is spent can't be read from the broker now; try again",
		}
	}
	reply.Used, reply.Free = status.Used, status.Free
	reply.WindowEnds, reply.LeftAloneUntil = given(status.WindowEnds), given(status.SuppressedUntil)
	if !status.UpstreamUntil.IsZero() {
		reply.UpstreamLeft, reply.UpstreamUntil = &status.UpstreamLeft, &status.UpstreamUntil
	}
	return reply, nil
}

func budgetReply(limit *contracts.RateLimit) *api.Budget {
	if limit == nil {
		return nil
	}
	return &api.Budget{Limit: limit.Limit, Window: limit.Window.String(), Sliding: limit.IsSliding}
}
