package control

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/announce"
	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/control/commands"
	"github.com/tributaryhq/tributary/internal/deferral"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// integrationWriter creates and updates the integrations of one provider, whose rules it keeps.
type integrationWriter struct {
	*Control
	key      string
	provider contracts.Provider
}

func (w *integrationWriter) routes() []api.Route {
	return []api.Route{
		{Endpoint: api.IntegrationsCreate, Provider: w.key, Answer: api.Takes(w.create)},
		{Endpoint: api.IntegrationsUpdate, Provider: w.key, Answer: api.Takes(w.update)},
		{Endpoint: api.RateLimitSet, Provider: w.key, Answer: api.Takes(w.setRateLimit)},
		{Endpoint: api.RateLimitClear, Provider: w.key, Answer: api.Takes(w.clearRateLimit)},
		{Endpoint: api.RateLimitStatusShow, Provider: w.key, Answer: api.Takes(w.showRateLimit)},
	}
}

func (w *integrationWriter) create(ctx context.Context, q api.CreateIntegration) (api.Integration, error) {
	row := dbsqlc.IntegrationInsertParams{
		ID: postgres.NewID(), Provider: w.key, Owner: q.Owner, Metadata: orEmpty(q.Metadata), Now: w.Now(),
	}
	credentials := orEmpty(q.Credentials)
	var err error
	if row.Name, err = w.nameOf(q.Name); err != nil {
		return api.Integration{}, err
	}
	if row.SyncInterval, err = parseInterval(q.SyncInterval); err != nil {
		return api.Integration{}, err
	}
	if err := w.check(q.Owner, row.Metadata, credentials); err != nil {
		return api.Integration{}, err
	}
	if _, ok := w.provider.(contracts.ScheduledSync); ok {
		row.NextSyncAt = &row.Now
	}
	probeAt := row.Now.Add(w.Health.Settings.Idle)
	row.ProbeAt = &probeAt
	var created *postgres.Integration
	err = w.Store.InTx(ctx, func(tx *postgres.Tx) error {
		inserted, err := tx.IntegrationInsert(ctx, row)
		if err != nil {
			return fmt.Errorf("insert integration %q: %w", row.Name, err)
		}
		if inserted == 0 {
			return &api.Error{
				Code: api.Conflict,
				Message: fmt.Sprintf(
					"there is an integration with the name %q already; give this one another name", row.Name,
				),
			}
		}
		if string(credentials) != "{}" {
			if _, err := w.Store.PutCredentials(
				ctx, tx, row.ID, credentials, 0, w.access(q.By, "create the integration"),
			); err != nil {
				return err
			}
		}
		if created, err = w.start(ctx, tx, row.ID, q.Paused, row.Now); err != nil {
			return err
		}
		return announce.Publish(
			ctx, tx, row.Now, events.IntegrationCreated, created,
			&eventsv1.IntegrationCreated{Integration: announce.Ref(created)},
		)
	})
	if err != nil {
		return api.Integration{}, err
	}
	w.Log.Info("integration created", "integration", created.Name, "provider", w.key, "by", q.By)
	w.Scheduler.Kick()
	return w.detailed(ctx, created)
}

// start reads the new row, and pauses the integration if paused is set.
func (w *integrationWriter) start(
	ctx context.Context, tx *postgres.Tx, id uuid.UUID, paused bool, now time.Time,
) (*postgres.Integration, error) {
	if !paused {
		created, err := tx.IntegrationGet(ctx, id)
		if err != nil {
			return nil, fmt.Errorf("read integration %s: %w", id, err)
		}
		return created, nil
	}
	created, err := tx.IntegrationSetStatus(
		ctx, dbsqlc.IntegrationSetStatusParams{ID: id, Status: "paused", Reason: "created paused", Now: now},
	)
	if err != nil {
		return nil, fmt.Errorf("pause integration %s: %w", id, err)
	}
	return created, nil
}

// update changes an integration and raises its version. Running services notice the new version.
func (w *integrationWriter) update(ctx context.Context, q api.UpdateIntegration) (api.Integration, error) {
	found, err := w.lookup(ctx, q.Integration)
	if err != nil {
		return api.Integration{}, err
	}
	if found.Provider != w.key {
		return api.Integration{}, api.Invalidf(
			"integration %q is one of provider %q, not %q", found.Name, found.Provider, w.key,
		)
	}
	var interval *time.Duration
	if q.SyncInterval != nil {
		if interval, err = parseInterval(*q.SyncInterval); err != nil {
			return api.Integration{}, err
		}
	}
	// Before the merge, which would replace characters that can't be stored.
	if err := checkStorable(
		map[string]json.RawMessage{"metadata": q.Metadata, "credentials": q.Credentials},
	); err != nil {
		return api.Integration{}, err
	}
	secrets, err := w.readAhead(ctx, found, q)
	if err != nil {
		return api.Integration{}, err
	}
	var updated *postgres.Integration
	err = w.Store.InTx(ctx, func(tx *postgres.Tx) error {
		before, err := commands.Lock(ctx, tx, found.ID.String())
		if err != nil {
			return err
		}
		if err := w.putCredentials(ctx, tx, before, q, secrets); err != nil {
			return err
		}
		if updated, err = w.updateRow(ctx, tx, before, q, interval); err != nil {
			return err
		}
		// The update may have mended the cause of a wait.
		if err := tx.WaitsEnd(
			ctx, dbsqlc.WaitsEndParams{IntegrationID: updated.ID, Cause: string(deferral.Any), Now: w.Now()},
		); err != nil {
			return fmt.Errorf("end waits of %s: %w", updated.ID, err)
		}
		return w.publishChange(ctx, tx, updated, "updated", q.By)
	})
	if err != nil {
		return api.Integration{}, err
	}
	if len(q.Metadata) > 0 || len(q.Credentials) > 0 {
		// The update may have mended why the upstream asked to wait. If not, the upstream asks again.
		w.lift(ctx, updated)
	}
	w.Log.Info("integration updated", "integration", updated.Name, "provider", w.key, "by", q.By)
	w.Scheduler.Kick()
	return w.detailed(ctx, updated)
}

func (w *integrationWriter) updateRow(
	ctx context.Context, tx *postgres.Tx, before *postgres.Integration, q api.UpdateIntegration,
	interval *time.Duration,
) (*postgres.Integration, error) {
	p := dbsqlc.IntegrationUpdateParams{
		ID: before.ID, Owner: q.Owner, SyncInterval: interval, ClearInterval: q.SyncInterval != nil && interval == nil,
		Now: w.Now(),
	}
	if len(q.Metadata) > 0 {
		var err error
		if p.Metadata, err = merge("metadata", before.Metadata, q.Metadata); err != nil {
			return nil, err
		}
	}
	owner := ""
	if q.Owner != nil {
		owner = *q.Owner
	}
	if err := w.check(owner, p.Metadata, nil); err != nil {
		return nil, err
	}
	updated, err := tx.IntegrationUpdate(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("update integration %s: %w", before.ID, err)
	}
	// A shorter interval takes effect now, not after the longer one has passed.
	if next := w.Now().Add(w.Runs.Interval(updated)); q.SyncInterval != nil && updated.NextSyncAt != nil &&
		next.Before(*updated.NextSyncAt) {
		updated.NextSyncAt = &next
		if err := tx.IntegrationSetNextSync(ctx, &next, updated.ID); err != nil {
			return nil, fmt.Errorf("set the next sync: %w", err)
		}
	}
	return updated, nil
}

// access is the entry in the audit for a request of the API. A caller without a name is "somebody".
func (c *Control) access(by string, why foreign.Text) postgres.Access {
	return postgres.Access{Who: foreign.Word(cmp.Or(by, "somebody")), Why: why, At: c.Now()}
}
