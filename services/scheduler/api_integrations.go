package scheduler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/secret"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

func (s *Scheduler) listIntegrations(ctx context.Context, q api.ListIntegrations) (api.IntegrationPage, error) {
	rows, next, err := s.page(ctx, q)
	if err != nil {
		return api.IntegrationPage{}, err
	}
	page := api.IntegrationPage{Integrations: make([]api.Integration, 0, len(rows)), Next: next}
	for _, row := range rows {
		page.Integrations = append(page.Integrations, integrationReply(row))
	}
	return page, nil
}

func (s *Scheduler) showIntegration(ctx context.Context, q api.ByIntegration) (api.Integration, error) {
	row, err := s.lookup(ctx, q.Integration)
	if err != nil {
		return api.Integration{}, err
	}
	return s.detailed(ctx, row)
}

// detailed opens the credentials to tell which are set; that they can't be opened is for an operator to see.
func (s *Scheduler) detailed(ctx context.Context, row *postgres.Integration) (api.Integration, error) {
	reply := integrationReply(row)
	details := &api.IntegrationDetails{Metadata: row.Metadata, Credentials: []string{}, Cursor: textOf(row.SyncCursor), CursorVersion: row.CursorVersion, Identity: knownIdentity(row)}
	reply.Details = details
	plain, _, err := s.Store.Credentials(ctx, row.ID, s.access("scheduler", "show the names of their fields"))
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
	open, err := s.Store.RunGetOpen(ctx, row.ID)
	if err != nil && !postgres.NotFound(err) {
		return api.Integration{}, fmt.Errorf("look for an open run: %w", err)
	}
	if err == nil {
		details.OpenRun = open.ID.String()
	}
	return reply, nil
}

// deleteIntegration removes the rows of an integration. With force, an open run is cancelled in the same transaction, by the rules of a cancel
// command, so that nothing of it runs on.
func (s *Scheduler) deleteIntegration(ctx context.Context, q api.DeleteIntegration) (struct{}, error) {
	found, err := s.lookup(ctx, q.Integration)
	if err != nil {
		return struct{}{}, err
	}
	var cancelled *reply
	err = s.Store.InTx(ctx, func(tx *postgres.Tx) error {
		cancelled = nil
		integration, err := s.find(ctx, tx, found.ID.String())
		if err != nil {
			return err
		}
		run, err := tx.RunLockOpen(ctx, integration.ID)
		if err != nil && !postgres.NotFound(err) {
			return fmt.Errorf("look for an open run: %w", err)
		}
		if err == nil {
			if !q.Force {
				return reject("run %s is open; wait for its end, or have it cancelled first: --force, or \"force\":true in a message", run.ID)
			}
			if cancelled, err = s.cancel(ctx, tx, integration, run, &eventsv1.Command{Reason: "the integration is deleted", By: q.By}); err != nil {
				return err
			}
		}
		if _, err := tx.RevocationInsert(ctx, s.Now(), integration.ID); err != nil {
			return fmt.Errorf("keep the grant of %s to be revoked: %w", integration.ID, err)
		}
		if _, err := tx.IntegrationDelete(ctx, integration.ID); err != nil {
			return fmt.Errorf("delete integration %s: %w", integration.ID, err)
		}
		return s.publishChange(ctx, tx, integration, "deleted", q.By)
	})
	if err != nil {
		return struct{}{}, err
	}
	s.Log.Info("integration deleted", "integration", found.Name, "provider", found.Provider, "by", q.By)
	if cancelled != nil {
		if err := cancelled.after(ctx); err != nil {
			s.Log.Warn("could not tidy up after an integration was deleted", "integration", found.Name, "error", err)
		}
	}
	return struct{}{}, nil
}

func (s *Scheduler) publishChange(ctx context.Context, tx *postgres.Tx, integration *postgres.Integration, what, by string) error {
	m, err := event(events.IntegrationChanged, integration, &eventsv1.IntegrationChanged{Integration: ref(integration), What: what, By: by})
	if err != nil {
		return err
	}
	return tx.Publish(ctx, s.Now(), m)
}

func (s *Scheduler) showCursor(ctx context.Context, q api.ByIntegration) (api.Cursor, error) {
	row, err := s.lookup(ctx, q.Integration)
	if err != nil {
		return api.Cursor{}, err
	}
	return api.Cursor{Integration: row.Name, Cursor: textOf(row.SyncCursor), Version: row.CursorVersion, LastSyncedAt: row.LastSyncedAt}, nil
}

func (s *Scheduler) countRecords(ctx context.Context, q api.ByIntegration) (api.RecordCount, error) {
	row, err := s.lookup(ctx, q.Integration)
	if err != nil {
		return api.RecordCount{}, err
	}
	records, err := s.Store.RecordCount(ctx, row.ID)
	if err != nil {
		return api.RecordCount{}, fmt.Errorf("count records: %w", err)
	}
	return api.RecordCount{Integration: row.Name, Records: records}, nil
}

func integrationReply(row *postgres.Integration) api.Integration {
	reply := api.Integration{
		ID: row.ID.String(), Provider: row.Provider, Name: row.Name, Owner: row.Owner, Status: row.Status, StatusReason: brief(row.StatusReason), Health: row.Health,
		NextSyncAt: row.NextSyncAt, LastSyncedAt: row.LastSyncedAt, ConsecutiveSyncFailures: row.ConsecutiveSyncFailures, StaleSince: row.StaleSince,
		Version: row.Version, CreatedAt: row.CreatedAt, UpdatedAt: row.UpdatedAt,
	}
	if row.SyncInterval != nil {
		reply.SyncInterval = row.SyncInterval.String()
	}
	return reply
}
