// Package deaditems writes what could not be processed to Postgres, with the event that says so, in one transaction
// that makes sure that the run still wants it. The syncer uses it for items that can't travel, the item-worker for
// those that failed for good.
package deaditems

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// The reasons of dead items that can't be tried again.
const (
	// Unencodable is that of an event that does not encode to JSON: there is no payload to try again with.
	Unencodable = "unencodable"
	// Invalid is that of an item whose external id or event type no store takes. What is kept of it has another, with
	// which it could be stored in the place of another record.
	Invalid = "invalid id or type"
)

// Dead is one item and why it is dead.
type Dead struct {
	Item   *eventsv1.Item
	Reason foreign.Text
	Error  foreign.Text
}

// Insert writes items of a batch as dead. It returns false, and writes nothing, when the run is closed or has a newer
// attempt. An item that stands there already is left as it is.
func Insert(ctx context.Context, store *postgres.Store, now time.Time, batch *eventsv1.ItemBatch, dead []Dead) (
	accepted bool, err error,
) {
	runID, err := uuid.Parse(batch.GetRunId())
	if err != nil {
		return false, fmt.Errorf("dead items of run %q: %w", batch.GetRunId(), err)
	}
	err = store.InTx(ctx, func(tx *postgres.Tx) error {
		run, err := tx.RunShare(ctx, runID)
		if postgres.NotFound(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("lock run %s: %w", runID, err)
		}
		if run.ClosedAt != nil || run.Attempt != batch.GetAttempt() {
			return nil
		}
		accepted = true
		integration, err := tx.IntegrationGet(ctx, run.IntegrationID)
		if err != nil {
			return fmt.Errorf("read integration %s: %w", run.IntegrationID, err)
		}
		rows, err := tx.DeadInsertMany(ctx, params(run, batch, dead, now))
		if err != nil {
			return fmt.Errorf("insert dead items of run %s: %w", runID, err)
		}
		messages := make([]postgres.Outgoing, 0, len(rows))
		for _, row := range rows {
			m, err := Event(integration, row)
			if err != nil {
				return err
			}
			messages = append(messages, m)
		}
		return tx.Publish(ctx, now, messages...)
	})
	return accepted && err == nil, err
}

// Reopen writes that an item which was given another go is dead again, with the event that says so. It returns false,
// and writes nothing, when the item is not under redrive any more.
func Reopen(ctx context.Context, store *postgres.Store, now time.Time, id uuid.UUID, dead Dead) (reopened bool,
	err error,
) {
	err = store.InTx(ctx, func(tx *postgres.Tx) error {
		rows, err := tx.DeadReopen(ctx, dbsqlc.DeadReopenParams{
			ID: id, Reason: dead.Reason, Error: dead.Error,
			Tries: dead.Item.GetTries(), Now: now,
		})
		if reopened = rows > 0; err != nil || !reopened {
			return err
		}
		row, err := tx.DeadGet(ctx, id)
		if err != nil {
			return err
		}
		integration, err := tx.IntegrationGet(ctx, row.IntegrationID)
		if err != nil {
			return fmt.Errorf("read integration %s: %w", row.IntegrationID, err)
		}
		m, err := Event(integration, row)
		if err != nil {
			return err
		}
		return tx.Publish(ctx, now, m)
	})
	return reopened && err == nil, err
}

// Event is the item-failed event of a dead item.
func Event(integration *postgres.Integration, row *postgres.DeadItem) (postgres.Outgoing, error) {
	m, err := wire.NewEvent(events.ItemFailed, row.Provider, row.IntegrationID.String(), "", &eventsv1.ItemFailed{
		Integration: wire.NewRef(integration.ID.String(), integration.Provider, integration.Name, integration.Owner),
		RunId:       row.RunID.String(), DeadItemId: row.ID.String(), EventType: row.EventType,
		ExternalId: row.ExternalID, Reason: row.Reason.String(), Error: row.Error.String(), Tries: row.Tries,
	})
	return postgres.Outgoing(m), err
}

func params(run *postgres.Run, batch *eventsv1.ItemBatch, dead []Dead, now time.Time) dbsqlc.DeadInsertManyParams {
	p := dbsqlc.DeadInsertManyParams{
		IntegrationID: run.IntegrationID, Provider: run.Provider, RunID: run.ID, Attempt: batch.GetAttempt(), Now: now,
	}
	for _, d := range dead {
		p.Ids = append(p.Ids, postgres.NewID())
		p.Batches = append(p.Batches, batch.GetBatch())
		p.ItemIndexes = append(p.ItemIndexes, d.Item.GetIndex())
		p.EventTypes = append(p.EventTypes, d.Item.GetEventType())
		p.ExternalIds = append(p.ExternalIds, d.Item.GetExternalId())
		p.Payloads = append(p.Payloads, append([]byte{}, d.Item.GetPayload()...))
		p.Checkpoints = append(p.Checkpoints, string(d.Item.GetCheckpoint()))
		p.Reasons = append(p.Reasons, d.Reason)
		p.Errors = append(p.Errors, d.Error)
		p.Tries = append(p.Tries, d.Item.GetTries())
		p.Hops = append(p.Hops, d.Item.GetHop())
	}
	return p
}
