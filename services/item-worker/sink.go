package itemworker

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
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

// sink stores items for which the application has no handler in the records table. One whose payload Postgres does not take is dead at once, and one for
// whose type another worker has had a handler waits for it.
func (j *job) sink(ctx context.Context, items []*eventsv1.Item) []result {
	items, results := j.awaitHandlers(ctx, items)
	records := make([]record, 0, len(items))
	for _, item := range items {
		payload, err := foreign.ParseJSON(item.GetPayload())
		if err != nil {
			results = append(results, j.classify(item, contracts.Permanent(fmt.Errorf("the payload %w", err))))
			continue
		}
		records = append(records, record{item: item, payload: payload, id: rowID(item.GetExternalId(), item.GetPayload())})
	}
	records, failed := j.order(ctx, records)
	results = append(results, failed...)
	if len(records) == 0 {
		return results
	}
	return append(results, j.store(ctx, records)...)
}

// mostTimedOut is how often Postgres may give up on records one after the other, before others get their turn.
const mostTimedOut = 3

// store writes records as one statement. If Postgres refuses that, it writes them one by one, so that a bad record does
// not take the others with it.
func (j *job) store(ctx context.Context, records []record) []result {
	err := j.insist(ctx, records)
	if err == nil || len(records) == 1 || postgres.Unavailable(err) || ctx.Err() != nil {
		return j.storedAs(records, err)
	}
	var results []result
	for timedOut := 0; len(records) > 0 && timedOut < mostTimedOut; records = records[1:] {
		one := j.insist(ctx, records[:1])
		if postgres.TimedOut(one) {
			timedOut++
		}
		results = append(results, j.storedAs(records[:1], one)...)
	}
	// There is a rest if it is not single records that Postgres takes too long for.
	return append(results, j.storedAs(records, putOff(err))...)
}

// insist writes records. Those of a webhook are tried again in place, for as long as Postgres is away: handed back, the
// webhook's handlers would be called again.
func (j *job) insist(ctx context.Context, records []record) error {
	err := j.upsert(ctx, records)
	for n, rest := 1, firstRest; j.webhook != ""; n, rest = n+1, min(2*rest, longestRest) {
		again := postgres.Unavailable(err) || len(records) == 1 && n < mostTimedOut && postgres.TimedOut(err)
		if !again || !pause(ctx, rest) {
			break
		}
		err = j.upsert(ctx, records)
	}
	return err
}

// storedAs is what records came to by the error of their statement.
func (j *job) storedAs(records []record, err error) []result {
	switch {
	case postgres.Unavailable(err), postgres.TimedOut(err):
		// That the database is away or overloaded is nobody's try.
		err = putOff(err)
	case postgres.RefusesRow(err):
		err = contracts.Permanent(fmt.Errorf("the record %w: %w", foreign.ErrUnstorable, err))
	}
	results := make([]result, 0, len(records))
	for _, record := range records {
		r := j.classify(record.item, err)
		r.received = err == nil
		results = append(results, r)
	}
	return results
}

// pause waits, and reports whether the context goes on.
func pause(ctx context.Context, rest time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(rest):
		return true
	}
}

// upsert stores records, the event that tells which of them changed, and the receipt of the items, in one transaction.
func (j *job) upsert(ctx context.Context, records []record) error {
	integration, err := uuid.Parse(j.batch.GetIntegrationId())
	if err != nil {
		return contracts.Permanent(err)
	}
	run, err := uuid.Parse(j.batch.GetRunId())
	if err != nil {
		return contracts.Permanent(err)
	}
	p := dbsqlc.RecordUpsertManyParams{IntegrationID: integration, RunID: run, Now: j.worker.Now()}
	for _, row := range newest(records) {
		p.EventTypes = append(p.EventTypes, row.item.GetEventType())
		p.ExternalIds = append(p.ExternalIds, row.id)
		p.Payloads = append(p.Payloads, row.payload.String())
		p.Checkpoints = append(p.Checkpoints, string(row.item.GetCheckpoint()))
		p.CheckpointKeys = append(p.CheckpointKeys, row.key)
	}
	err = j.worker.Store.InTx(ctx, func(tx *postgres.Tx) error {
		changed, err := tx.RecordUpsertMany(ctx, p)
		if err != nil {
			return fmt.Errorf("store records: %w", err)
		}
		j.worker.Crash("item-worker: records stored")
		changes, err := j.changes(changed)
		if err != nil {
			return err
		}
		if err := tx.Publish(ctx, p.Now, changes...); err != nil || j.webhook != "" || j.redrive != nil {
			return err
		}
		received := make([]*eventsv1.Item, 0, len(records))
		for _, record := range records {
			received = append(received, record.item)
		}
		receipt, err := j.receipt(received)
		if err != nil {
			return err
		}
		return tx.AddReceipts(ctx, receipt)
	})
	if err == nil {
		j.worker.Crash("item-worker: records committed")
	}
	return err
}

// maxChanges is how many bytes an event about records may have, by an estimate that is far above what most names need as JSON.
const maxChanges = 512 << 10

// changes tells which records changed: in one event, or in several where the names are too long for one.
func (j *job) changes(changed []*dbsqlc.RecordUpsertManyRow) ([]postgres.Outgoing, error) {
	var messages []postgres.Outgoing
	for len(changed) > 0 {
		event := &eventsv1.RecordsChanged{IntegrationId: j.batch.GetIntegrationId(), Provider: j.batch.GetProvider(), RunId: j.batch.GetRunId()}
		if j.webhook != "" {
			event.RunId, event.WebhookId = "", j.webhook
		}
		size := 0
		for len(changed) > 0 {
			row := changed[0]
			// A byte takes up to six in JSON.
			size += 6*(len(row.EventType)+len(row.ExternalID)) + 64
			if size > maxChanges && len(event.GetRecords()) > 0 {
				break
			}
			event.Records = append(event.Records, &eventsv1.RecordsChanged_Record{EventType: row.EventType, ExternalId: row.ExternalID})
			changed = changed[1:]
		}
		m, err := events.NewEvent(events.RecordsChanged, j.batch.GetProvider(), j.batch.GetIntegrationId(), "", event)
		if err != nil {
			return nil, err
		}
		messages = append(messages, postgres.Outgoing(m))
	}
	return messages, nil
}
