package itemworker

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// sink stores items for which the application has no handler in the records table, as one statement; if Postgres refuses that, one by one, so
// that a bad record does not take the others with it.
func (j *job) sink(ctx context.Context, items []*eventsv1.Item) []result {
	err := j.upsert(ctx, items)
	for rest := firstRest; j.webhook != "" && postgres.Unavailable(err) && pause(ctx, rest); rest = min(2*rest, longestRest) {
		// Handed back, the webhook's handlers would be called again.
		err = j.upsert(ctx, items)
	}
	if err != nil && len(items) > 1 && !postgres.Unavailable(err) && ctx.Err() == nil {
		results := make([]result, 0, len(items))
		for _, item := range items {
			results = append(results, j.sink(ctx, []*eventsv1.Item{item})...)
		}
		return results
	}
	results := make([]result, 0, len(items))
	for _, item := range items {
		if err != nil && postgres.Unavailable(err) {
			// The database being away is nobody's try.
			results = append(results, j.classify(item, contracts.RetryAfter(sinkRetry, err)))
			continue
		}
		r := j.classify(item, err)
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
func (j *job) upsert(ctx context.Context, items []*eventsv1.Item) error {
	integration, err := uuid.Parse(j.batch.GetIntegrationId())
	if err != nil {
		return contracts.Permanent(err)
	}
	run, err := uuid.Parse(j.batch.GetRunId())
	if err != nil {
		return contracts.Permanent(err)
	}
	rows, err := j.newest(items)
	if err != nil {
		return contracts.Permanent(err)
	}
	p := dbsqlc.RecordUpsertManyParams{IntegrationID: integration, RunID: run, Now: j.worker.Now()}
	for _, row := range rows {
		p.EventTypes = append(p.EventTypes, row.item.GetEventType())
		p.ExternalIds = append(p.ExternalIds, row.id)
		p.Payloads = append(p.Payloads, string(storable(row.item.GetPayload())))
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
		receipt, err := j.receipt(items)
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

type recordRow struct {
	item *eventsv1.Item
	id   string
	key  string
}

// newest keeps the newest version of each record, for one statement can't touch a row twice.
func (j *job) newest(items []*eventsv1.Item) ([]recordRow, error) {
	orderer, ordered := j.provider.(contracts.CheckpointOrderer)
	rows := make([]recordRow, 0, len(items))
	at := make(map[[2]string]int, len(items))
	for _, item := range items {
		row := recordRow{item: item, id: item.GetExternalId()}
		if row.id == "" {
			sum := sha256.Sum256(item.GetPayload())
			row.id = "sha256:" + hex.EncodeToString(sum[:])
		}
		if ordered && len(item.GetCheckpoint()) > 0 {
			var err error
			if row.key, err = orderer.CheckpointKey(item.GetCheckpoint()); err != nil {
				return nil, fmt.Errorf("order checkpoint of %s %s: %w", item.GetEventType(), row.id, err)
			}
			// A text column has no place for U+0000; the next character keeps the order.
			row.key = strings.ReplaceAll(row.key, "\x00", "\x01")
		}
		name := [2]string{item.GetEventType(), row.id}
		if previous, found := at[name]; !found {
			at[name] = len(rows)
			rows = append(rows, row)
		} else if rows[previous].key <= row.key || row.key == "" {
			rows[previous] = row
		}
	}
	return rows, nil
}

// storable makes a payload fit for jsonb, which has no place for U+0000: it becomes U+FFFD, as everywhere where text can't be kept.
func storable(payload []byte) []byte {
	if !bytes.Contains(payload, []byte(`\u0000`)) {
		return payload
	}
	out := make([]byte, 0, len(payload))
	for i := 0; i < len(payload); i++ {
		if payload[i] != '\\' || i+1 >= len(payload) {
			out = append(out, payload[i])
			continue
		}
		// An escape is copied whole, so that an escaped backslash before u0000 stays what it is.
		if bytes.HasPrefix(payload[i:], []byte(`\u0000`)) {
			out = append(out, `\ufffd`...)
			i += len(`\u0000`) - 1
			continue
		}
		out = append(out, payload[i], payload[i+1])
		i++
	}
	return out
}
