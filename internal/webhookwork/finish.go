package webhookwork

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/deferral"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/handling"
	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/redact"
	"github.com/tributaryhq/tributary/internal/suspects"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// suspectAfter is after how many deaths of its worker a delivery is handled alone in its process, so that no other is
// charged with what it does.
const suspectAfter = 2

// finished is what became of a claim.
type finished struct {
	row    *dbsqlc.WebhookClaimRow
	status string
	next   time.Time
	tries  int32
	reason foreign.Text
	result string
	err    error
	// waitingFor is what a deferred delivery waits for, and deferrals how often it was deferred in a row.
	waitingFor deferral.Cause
	deferrals  int32
}

// work handles a claim and writes what became of it, as long as the claim stands. stopping ends when the service is
// told to stop, ctx when its grace is over. free gives the slot to another claim.
func (w *Worker) work(stopping, ctx context.Context, row *dbsqlc.WebhookClaimRow, free func()) {
	defer w.release(row)
	started := w.Now()
	c := &call{Worker: w, row: row}
	err := error(suspects.ErrDeadly)
	if int(row.Crashes) < w.Settings.Crashes {
		err = w.beside(stopping, ctx, row, func() error { return c.try(ctx) })
	}
	f := w.settle(row, err, c.result, redact.New(c.provider, c.in))
	if f.status == "processed" {
		f.reason = c.resultLost
	}
	if errors.Is(err, handling.ErrStopping) || ctx.Err() != nil && errors.Is(err, context.Canceled) {
		// The grace is over: that is nobody's failure.
		f = finished{row: row, status: "pending", next: w.Now(), tries: row.Tries}
	}
	w.Metrics.webhook(f, w.Now().Sub(started), w.Now())
	w.tell(f)
	w.Crash("item-worker: before webhook finished")
	if !w.insist(stopping, ctx, f, free) {
		return
	}
	w.Crash("item-worker: webhook finished")
}

// beside runs a delivery beside others, or alone when it has been in work at the death of its worker before. It does
// not run when the worker stops before its turn: a delivery that has not begun is charged with nothing.
func (w *Worker) beside(stopping, ctx context.Context, row *dbsqlc.WebhookClaimRow, f func() error) error {
	gate := w.Handlers.Gate
	lock, unlock := gate.Beside, gate.Release
	if row.Crashes >= suspectAfter {
		lock, unlock = gate.Alone, gate.ReleaseAlone
	}
	if !lock(ctx, stopping.Done()) {
		return handling.ErrStopping
	}
	defer unlock()
	return panics.Try("the handler", f)
}

func (w *Worker) tell(f finished) {
	attributes := []any{
		"webhook", f.row.ID, "provider", f.row.Provider, "integration", f.row.IntegrationName, "event", f.row.EventType,
		"delivery", f.row.DeliveryID, "tries", f.tries,
	}
	panics.Report(w.Log, f.err, attributes...)
	switch {
	case f.status == "failed":
		w.Log.Warn("webhook failed; replay it when its cause is mended",
			append(attributes, "reason", f.reason, "error", f.err)...)
	case f.status == "pending" && f.err != nil && f.row.OrderingKey != "":
		w.Log.Warn("webhook to be tried again; those behind it in its order wait",
			append(attributes, "at", f.next, "waiting_for", f.waitingFor, "error", f.err)...)
	case f.status == "pending" && f.err != nil:
		w.Log.Info("webhook to be tried again", append(attributes, "at", f.next, "error", f.err)...)
	default:
		w.Log.Debug("webhook handled", append(attributes, "status", f.status)...)
	}
}

// finish writes what became of claims, with the events that say so, in one transaction. Claims that another worker has
// taken over are passed over.
func (w *Worker) finish(ctx context.Context, all []finished) error {
	now := w.Now()
	p := dbsqlc.WebhookFinishManyParams{Now: now}
	byID := make(map[uuid.UUID]finished, len(all))
	for _, f := range all {
		p.Ids, p.Attempts, p.Statuses = append(p.Ids, f.row.ID), append(p.Attempts, f.row.Attempt),
			append(p.Statuses, f.status)
		p.NextTryAts, p.Tries, p.Reasons = append(p.NextTryAts, f.next), append(p.Tries, f.tries),
			append(p.Reasons, f.reason)
		p.Errors, p.Results = append(p.Errors, f.errorText()), append(p.Results, f.result)
		p.WaitingFors, p.Deferrals = append(p.WaitingFors, string(f.waitingFor)), append(p.Deferrals, f.deferrals)
		byID[f.row.ID] = f
	}
	return w.Store.InTx(ctx, func(tx *postgres.Tx) error {
		written, err := tx.WebhookFinishMany(ctx, p)
		if err != nil {
			return fmt.Errorf("write what became of %d webhooks: %w", len(all), err)
		}
		var messages []postgres.Outgoing
		var log []postgres.Operation
		for _, id := range written {
			f := byID[id]
			if f.status != "pending" {
				log = append(log, f.operation(now))
			}
			if f.status != "failed" {
				continue
			}
			m, err := failedEvent(f)
			if err != nil {
				return err
			}
			messages = append(messages, m)
		}
		if err := tx.LogOperations(ctx, log...); err != nil {
			return err
		}
		return tx.Publish(ctx, now, messages...)
	})
}

// operation is the delivery's line in the business log, with what its handler returned.
func (f finished) operation(now time.Time) postgres.Operation {
	row := f.row
	o := postgres.Operation{
		Integration: row.IntegrationID, Operation: "webhook", Status: "succeeded", Subject: row.ID.String(),
		ExternalID: row.DeliveryID,
		Summary:    foreign.Word(strings.TrimSpace(row.EventType + " " + f.status)), Started: now, Ended: now,
	}
	if row.StartedAt != nil {
		o.Started = *row.StartedAt
	}
	if f.status == "failed" {
		o.Status, o.Error = "failed", f.errorText()
	}
	if f.result != "" {
		o.Details = json.RawMessage(`{"result":` + f.result + `}`)
	}
	return o
}

func (f finished) errorText() foreign.Text {
	if f.err == nil || f.status == "ignored" {
		return ""
	}
	return foreign.Of(f.err)
}

func failedEvent(f finished) (postgres.Outgoing, error) {
	row := f.row
	id := row.IntegrationID.String()
	m, err := wire.NewEvent(events.WebhookFailed, row.Provider, id, "", &eventsv1.WebhookFailed{
		Integration: wire.NewRef(id, row.Provider, row.IntegrationName, row.IntegrationOwner),
		WebhookId:   row.ID.String(), DeliveryId: row.DeliveryID,
		EventType: row.EventType, Reason: f.reason.String(), Error: f.errorText().String(), Tries: f.tries,
	})
	return postgres.Outgoing(m), err
}
