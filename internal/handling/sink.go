package handling

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/loop"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// record is an item without a handler, whose payload a row takes.
type record struct {
	item    *eventsv1.Item
	payload foreign.JSON
	// id is the row's. key tells which version of the record is newer.
	id, key string
}

// sink stores items for which the application has no handler in the records table. One whose payload Postgres does not
// take is dead at once, and one for whose type another worker has had a handler waits for it.
func (w *Work) sink(ctx context.Context, items []*eventsv1.Item) []Handled {
	var results []Handled
	if !w.Origin.IsWhole() { // else AwaitHandlers was asked before
		items, results = w.awaitHandlers(ctx, items)
	}
	records := make([]record, 0, len(items))
	for _, item := range items {
		payload, err := foreign.ParseJSON(item.GetPayload())
		if err != nil {
			results = append(results, Handled{Item: item, Err: contracts.Permanent(fmt.Errorf("the payload %w", err))})
			continue
		}
		records = append(records,
			record{item: item, payload: payload, id: rowID(item.GetExternalId(), item.GetPayload())})
	}
	records, failed := w.order(ctx, records)
	results = append(results, failed...)
	if len(records) == 0 {
		return results
	}
	return append(results, w.store(ctx, records)...)
}

// mostTimedOut is how often Postgres may give up on records one after the other, before others get their turn.
const mostTimedOut = 3

// store writes records as one statement. If Postgres refuses that, it writes them one by one, so that a bad record does
// not take the others with it.
func (w *Work) store(ctx context.Context, records []record) []Handled {
	err := w.insist(ctx, records)
	if err == nil || len(records) == 1 || postgres.Unavailable(err) || ctx.Err() != nil {
		return storedAs(records, err)
	}
	var results []Handled
	for timedOut := 0; len(records) > 0 && timedOut < mostTimedOut; records = records[1:] {
		one := w.insist(ctx, records[:1])
		if postgres.TimedOut(one) {
			timedOut++
		}
		results = append(results, storedAs(records[:1], one)...)
	}
	// There is a rest if it is not single records that Postgres takes too long for.
	return append(results, storedAs(records, PutOff(err))...)
}

// insist writes records. While Postgres is away, it writes those of a whole again in place: else all handlers of the
// whole would be called again.
func (w *Work) insist(ctx context.Context, records []record) error {
	err := w.upsert(ctx, records)
	for n, rest := 1, firstRest; w.Origin.IsWhole(); n, rest = n+1, min(2*rest, longestRest) {
		again := postgres.Unavailable(err) || len(records) == 1 && n < mostTimedOut && postgres.TimedOut(err)
		if !again || !loop.Pause(ctx, rest) {
			break
		}
		err = w.upsert(ctx, records)
	}
	return err
}

// storedAs is what records came to by the error of their statement.
func storedAs(records []record, err error) []Handled {
	switch {
	case postgres.Unavailable(err), postgres.TimedOut(err):
		// That the database is away or overloaded is nobody's try.
		err = PutOff(err)
	case postgres.RefusesRow(err):
		err = contracts.Permanent(fmt.Errorf("the record %w: %w", foreign.ErrUnstorable, err))
	}
	results := make([]Handled, 0, len(records))
	for _, record := range records {
		results = append(results, Handled{Item: record.item, Err: err, Received: err == nil})
	}
	return results
}

// upsert stores records, the event that tells which of them changed, and the receipt of the items, in one transaction.
func (w *Work) upsert(ctx context.Context, records []record) error {
	integration, err := uuid.Parse(w.Batch.GetIntegrationId())
	if err != nil {
		return contracts.Permanent(err)
	}
	run, err := uuid.Parse(w.Batch.GetRunId())
	if err != nil {
		return contracts.Permanent(err)
	}
	p := dbsqlc.RecordUpsertManyParams{IntegrationID: integration, RunID: run, Now: w.Now()}
	for _, row := range newest(records) {
		p.EventTypes = append(p.EventTypes, row.item.GetEventType())
		p.ExternalIds = append(p.ExternalIds, row.id)
		p.Payloads = append(p.Payloads, row.payload.String())
		p.Checkpoints = append(p.Checkpoints, string(row.item.GetCheckpoint()))
		p.CheckpointKeys = append(p.CheckpointKeys, row.key)
	}
	err = w.Store.InTx(ctx, func(tx *postgres.Tx) error {
		changed, err := tx.RecordUpsertMany(ctx, p)
		if err != nil {
			return fmt.Errorf("store records: %w", err)
		}
		w.Crash("item-worker: records stored")
		changes, err := w.changes(changed)
		if err != nil {
			return err
		}
		if err := tx.Publish(ctx, p.Now, changes...); err != nil {
			return err
		}
		received := make([]*eventsv1.Item, 0, len(records))
		for _, record := range records {
			received = append(received, record.item)
		}
		return w.Origin.Receive(ctx, tx, received)
	})
	if err == nil {
		w.Crash("item-worker: records committed")
	}
	return err
}

// maxChanges is how many bytes an event about records may have, by an estimate that is far above what most names need
// as JSON.
const maxChanges = 512 << 10

// changes tells which records changed: in one event, or in several where the names are too long for one.
func (w *Work) changes(changed []*dbsqlc.RecordUpsertManyRow) ([]postgres.Outgoing, error) {
	var messages []postgres.Outgoing
	for len(changed) > 0 {
		event := &eventsv1.RecordsChanged{IntegrationId: w.Batch.GetIntegrationId(), Provider: w.Batch.GetProvider()}
		w.Origin.Name(event)
		size := 0
		for len(changed) > 0 {
			row := changed[0]
			// A byte takes up to six in JSON.
			size += 6*(len(row.EventType)+len(row.ExternalID)) + 64
			if size > maxChanges && len(event.GetRecords()) > 0 {
				break
			}
			event.Records = append(event.Records, &eventsv1.RecordsChanged_Record{
				EventType:  row.EventType,
				ExternalId: row.ExternalID,
			})
			changed = changed[1:]
		}
		m, err := wire.NewEvent(events.RecordsChanged, w.Batch.GetProvider(), w.Batch.GetIntegrationId(), "", event)
		if err != nil {
			return nil, err
		}
		messages = append(messages, postgres.Outgoing(m))
	}
	return messages, nil
}
