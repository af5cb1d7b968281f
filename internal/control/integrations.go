package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/tributaryhq/tributary/internal/announce"
	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/control/commands"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/secret"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

type integrationsAPI struct{ *Control }

func (c integrationsAPI) routes() []api.Route {
	return []api.Route{
		{Endpoint: api.IntegrationsList, Answer: api.Takes(c.list)},
		{Endpoint: api.IntegrationsShow, Answer: api.Takes(c.show)},
		{Endpoint: api.IntegrationsDelete, Answer: api.Takes(c.delete)},
		{Endpoint: api.CursorShow, Answer: api.Takes(c.cursor)},
		{Endpoint: api.RecordsCount, Answer: api.Takes(c.records)},
	}
}

func (c integrationsAPI) list(ctx context.Context, q api.ListIntegrations) (api.IntegrationPage, error) {
	rows, next, err := c.page(ctx, q)
	if err != nil {
		return api.IntegrationPage{}, err
	}
	page := api.IntegrationPage{Integrations: make([]api.Integration, 0, len(rows)), Next: next}
	for _, row := range rows {
		page.Integrations = append(page.Integrations, integrationReply(row))
	}
	return page, nil
}

func (c integrationsAPI) show(ctx context.Context, q api.ByIntegration) (api.Integration, error) {
	row, err := c.lookup(ctx, q.Integration)
	if err != nil {
		return api.Integration{}, err
	}
	return c.detailed(ctx, row)
}

// detailed opens the credentials to show the names of their fields. If they can't be opened, the reply says why.
func (c *Control) detailed(ctx context.Context, row *postgres.Integration) (api.Integration, error) {
	reply := integrationReply(row)
	details := &api.IntegrationDetails{
		Metadata: row.Metadata, Credentials: []string{}, Cursor: textOf(row.SyncCursor),
		CursorVersion: row.CursorVersion, Identity: knownIdentity(row),
	}
	reply.Details = details
	plain, _, err := c.Store.Credentials(ctx, row.ID, c.access("scheduler", "show the names of their fields"))
	switch {
	case errors.Is(err, secret.ErrUnknownKey), errors.Is(err, secret.ErrOpen):
		details.CredentialsProblem = err.Error()
	case err != nil:
		return api.Integration{}, err
	case len(plain) > 0:
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(plain, &fields); err != nil {
			details.CredentialsProblem = "they are not a JSON object"
		}
		details.Credentials = slices.Sorted(maps.Keys(fields))
		if details.Credentials == nil {
			details.Credentials = []string{}
		}
	}
	open, err := c.Store.RunGetOpen(ctx, row.ID)
	if err != nil && !postgres.NotFound(err) {
		return api.Integration{}, fmt.Errorf("look for an open run: %w", err)
	}
	if err == nil {
		details.OpenRun = open.ID.String()
	}
	return reply, nil
}

// delete removes the rows of an integration. With force, it cancels an open run in the same transaction, as the command
// cancel does.
func (c integrationsAPI) delete(ctx context.Context, q api.DeleteIntegration) (struct{}, error) {
	found, err := c.lookup(ctx, q.Integration)
	if err != nil {
		return struct{}{}, err
	}
	var purge func(context.Context) error
	err = c.Store.InTx(ctx, func(tx *postgres.Tx) error {
		purge = nil
		integration, err := commands.Lock(ctx, tx, found.ID.String())
		if err != nil {
			return err
		}
		run, err := tx.RunLockOpen(ctx, integration.ID)
		if err != nil && !postgres.NotFound(err) {
			return fmt.Errorf("look for an open run: %w", err)
		}
		if err == nil {
			if !q.Force {
				return refusedf(
					"run %s is open; wait for its end, or have it cancelled first: "+
						"--force, or \"force\":true in a message",
					run.ID,
				)
			}
			if purge, err = c.commands.Cancel(
				ctx, tx, integration, run, &eventsv1.Command{Reason: "the integration is deleted", By: q.By},
			); err != nil {
				return err
			}
		}
		if _, err := tx.RevocationInsert(ctx, c.Now(), integration.ID); err != nil {
			return fmt.Errorf("keep the grant of %s to be revoked: %w", integration.ID, err)
		}
		if _, err := tx.IntegrationDelete(ctx, integration.ID); err != nil {
			return fmt.Errorf("delete integration %s: %w", integration.ID, err)
		}
		return c.publishChange(ctx, tx, integration, "deleted", q.By)
	})
	if err != nil {
		return struct{}{}, err
	}
	c.Log.Info("integration deleted", "integration", found.Name, "provider", found.Provider, "by", q.By)
	if purge != nil {
		if err := purge(ctx); err != nil {
			c.Log.Warn("could not tidy up after an integration was deleted", "integration", found.Name, "error", err)
		}
	}
	return struct{}{}, nil
}

func (c *Control) publishChange(
	ctx context.Context, tx *postgres.Tx, integration *postgres.Integration, what, by string,
) error {
	return announce.Publish(ctx, tx, c.Now(), events.IntegrationChanged, integration, &eventsv1.IntegrationChanged{
		Integration: announce.Ref(integration), What: what, By: by,
	})
}

func (c integrationsAPI) cursor(ctx context.Context, q api.ByIntegration) (api.Cursor, error) {
	row, err := c.lookup(ctx, q.Integration)
	if err != nil {
		return api.Cursor{}, err
	}
	return api.Cursor{
		Integration: row.Name, Cursor: textOf(row.SyncCursor), Version: row.CursorVersion,
		LastSyncedAt: row.LastSyncedAt,
	}, nil
}

func (c integrationsAPI) records(ctx context.Context, q api.ByIntegration) (api.RecordCount, error) {
	row, err := c.lookup(ctx, q.Integration)
	if err != nil {
		return api.RecordCount{}, err
	}
	records, err := c.Store.RecordCount(ctx, row.ID)
	if err != nil {
		return api.RecordCount{}, fmt.Errorf("count records: %w", err)
	}
	return api.RecordCount{Integration: row.Name, Records: records}, nil
}

func integrationReply(row *postgres.Integration) api.Integration {
	reply := api.Integration{
		ID: row.ID.String(), Provider: row.Provider, Name: row.Name, Owner: row.Owner, Status: row.Status,
		StatusReason: brief(row.StatusReason), Health: row.Health,
		NextSyncAt: row.NextSyncAt, LastSyncedAt: row.LastSyncedAt,
		ConsecutiveSyncFailures: row.ConsecutiveSyncFailures, StaleSince: row.StaleSince,
		Version: row.Version, CreatedAt: row.CreatedAt, UpdatedAt: row.UpdatedAt,
	}
	if row.SyncInterval != nil {
		reply.SyncInterval = row.SyncInterval.String()
	}
	return reply
}
