package webhookwork

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/handling"
	"github.com/tributaryhq/tributary/internal/loop"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// stored is a delivery that is to become a row.
type stored struct {
	id, integration uuid.UUID
	message         *eventsv1.WebhookReceived
	event, order    foreign.Text
	headers         string
	sequence        uint64
	// since is set to when it became one: now or by an earlier delivery. A copy has none.
	since *time.Time
}

// take stores one message of the stream, together with others that come at the same time. It is acknowledged when it is
// in Postgres, and still is after the lag bound.
func (w *Worker) take(ctx context.Context, d *bus.Delivery) error {
	err := w.keep(ctx, d)
	if postgres.Unavailable(err) {
		return bus.Again(patience, err.Error())
	}
	return err
}

func (w *Worker) keep(ctx context.Context, d *bus.Delivery) error {
	message := &eventsv1.WebhookReceived{}
	if err := proto.Unmarshal(d.Body, message); err != nil {
		return bus.Again(time.Minute, "a webhook that this version can't read")
	}
	id, err := uuid.Parse(message.GetId())
	if err != nil {
		return fmt.Errorf("webhook %q: %w", message.GetId(), err)
	}
	bound := w.Bus.Timing().LagBound
	if bound > 0 && d.Count > 1 {
		if known, err := w.lookLate(ctx, id); known || err != nil {
			return err
		}
	}
	row, err := w.rowOf(ctx, id, message, d.Sequence)
	if err != nil {
		return err
	}
	if err := w.storeOne(ctx, row); err != nil {
		return err
	}
	w.Crash("item-worker: webhook stored")
	loop.Kick(w.kicks)
	if bound == 0 || row.since.IsZero() {
		// A copy has no row, and the original's message guards the original's.
		return nil
	}
	return bus.AckAfter(bound, *row.since, w.Now())
}

// mostApart is how many deliveries are known that are stored alone.
const mostApart = 1000

// storeOne stores a delivery together with others, and alone when Postgres has refused it before: it would hold the
// others up again.
func (w *Worker) storeOne(ctx context.Context, row stored) error {
	write := w.stores.Add
	w.mu.Lock()
	if w.apart[row.id] {
		write = w.stores.Alone
	}
	w.mu.Unlock()
	err := write(ctx, row)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil || postgres.Unavailable(err) {
		delete(w.apart, row.id)
		return err
	}
	if len(w.apart) >= mostApart {
		clear(w.apart)
	}
	w.apart[row.id] = true
	return err
}

// rowOf asks the provider what the delivery is. When it can't say, the handler's try will.
func (w *Worker) rowOf(ctx context.Context, id uuid.UUID, message *eventsv1.WebhookReceived, sequence uint64) (stored,
	error,
) {
	row := stored{id: id, message: message, sequence: sequence, since: new(time.Time)}
	var err error
	if row.integration, err = uuid.Parse(message.GetIntegrationId()); err != nil {
		return row, fmt.Errorf("webhook %s: integration: %w", row.id, err)
	}
	headers := make(map[string][]string, len(message.GetHeaders()))
	for _, header := range message.GetHeaders() {
		for _, value := range header.GetValues() {
			headers[header.GetName()] = append(headers[header.GetName()], string(value))
		}
	}
	encoded, err := json.Marshal(headers)
	if err != nil {
		return row, fmt.Errorf("webhook %s: encode headers: %w", row.id, err)
	}
	row.headers = string(encoded)
	provider, err := w.Registry.Provider(message.GetProvider())
	if err != nil {
		return row, err
	}
	req, err := w.Deliveries.Unpack(message)
	if err != nil {
		w.Log.Error("webhook can't be opened; it is stored as it is", "webhook", row.id, "error", err)
		return row, nil
	}
	is, err := handling.Ask(ctx, w.Handlers, "the provider", func() (described, error) {
		return describe(provider, req), nil
	})
	if err != nil {
		w.Log.Warn("a provider can't say what a webhook is", "provider", message.GetProvider(), "webhook",
			row.id, "error", err)
	}
	row.event, row.order = is.event, is.order
	return row, nil
}

// described is what a provider says of a delivery.
type described struct {
	event, order foreign.Text
}

func describe(provider contracts.Provider, req *contracts.WebhookRequest) (is described) {
	if handler, ok := provider.(contracts.WebhookHandler); ok {
		event, _ := handler.ResolveWebhookEvent(req)
		is.event = foreign.Word(event)
	}
	if orderer, ok := provider.(contracts.WebhookOrderer); ok {
		key, _ := orderer.WebhookOrderingKey(req)
		is.order = foreign.Key(key)
	}
	return is
}

// store writes deliveries, and that their integrations are not silent, in one transaction.
func (w *Worker) store(ctx context.Context, rows []stored) error {
	now := w.Now()
	p := dbsqlc.WebhookInsertManyParams{Now: now, HashWindow: wire.DedupeWindow}
	var sources []uuid.UUID
	var lasts []time.Time
	newest := map[uuid.UUID]time.Time{}
	for _, row := range rows {
		m := row.message
		received := m.GetReceivedAt().AsTime()
		p.Ids, p.IntegrationIds = append(p.Ids, row.id), append(p.IntegrationIds, row.integration)
		p.DeliveryIds, p.Copies = append(p.DeliveryIds, m.GetDeliveryId()), append(p.Copies, m.GetCopy())
		p.EventTypes, p.OrderingKeys = append(p.EventTypes, row.event), append(p.OrderingKeys, row.order)
		p.Sequences, p.Methods, p.Paths = append(p.Sequences, int64(row.sequence)), append(p.Methods, m.GetMethod()),
			append(p.Paths, m.GetPath())
		p.Queries, p.Headers, p.Bodies = append(p.Queries, m.GetQuery()), append(p.Headers, row.headers),
			append(p.Bodies, orEmpty(m.GetBody()))
		p.KeyIds, p.Sealed = append(p.KeyIds, m.GetKeyId()), append(p.Sealed, orEmpty(m.GetSealed()))
		p.ReceivedAts = append(p.ReceivedAts, received)
		if received.After(newest[row.integration]) {
			newest[row.integration] = received
		}
	}
	for id, at := range newest {
		sources, lasts = append(sources, id), append(lasts, at)
	}
	var fresh []*dbsqlc.WebhookInsertManyRow
	var since map[uuid.UUID]time.Time
	err := w.Store.InTx(ctx, func(tx *postgres.Tx) (err error) {
		fresh, err = tx.WebhookInsertMany(ctx, p)
		if err != nil {
			return fmt.Errorf("store %d webhooks: %w", len(rows), err)
		}
		if since, err = storedBefore(ctx, tx, rows, fresh); err != nil {
			return err
		}
		awake, err := tx.WebhookSourceTouch(ctx, sources, lasts)
		if err != nil {
			return fmt.Errorf("note that webhooks came: %w", err)
		}
		var messages []postgres.Outgoing
		for _, in := range awake {
			m, err := wire.NewEvent(events.WebhooksResumed, in.Provider, in.ID.String(), "",
				&eventsv1.WebhooksResumed{
					Integration: wire.NewRef(in.ID.String(), in.Provider, in.Name, in.Owner),
				})
			if err != nil {
				return err
			}
			messages = append(messages, postgres.Outgoing(m))
		}
		return tx.Publish(ctx, now, messages...)
	})
	if err != nil {
		return err
	}
	w.Metrics.stored(rows, fresh)
	for _, row := range fresh {
		since[row.ID] = now
	}
	for _, row := range rows {
		*row.since = since[row.id]
	}
	return nil
}

// storedBefore tells which deliveries were rows before, and since when. Their messages are acknowledged because of what
// another transaction has written, which must be on the standby by then.
func storedBefore(ctx context.Context, tx *postgres.Tx, rows []stored, fresh []*dbsqlc.WebhookInsertManyRow) (
	map[uuid.UUID]time.Time, error,
) {
	since := map[uuid.UUID]time.Time{}
	if len(fresh) == len(rows) {
		return since, nil
	}
	ids := make([]uuid.UUID, 0, len(rows))
	for _, row := range rows {
		ids = append(ids, row.id)
	}
	before, err := tx.WebhookStored(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("look for %d webhooks: %w", len(ids), err)
	}
	for _, row := range before {
		since[row.ID] = row.StoredAt
	}
	return since, tx.Barrier(ctx)
}

// orEmpty keeps nil from becoming null.
func orEmpty(value []byte) []byte {
	if value == nil {
		return []byte{}
	}
	return value
}
