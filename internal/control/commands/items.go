package commands

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributaryhq/tributary/internal/deaditems"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/wire"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// retryAtATime bounds the dead items that one statement claims.
const retryAtATime = 500

// retry sends dead items to the workers again, with all their tries. Without an item it takes all dead items, and has
// runs reduced again whose reducer failed.
func (e *Executor) retry(
	ctx context.Context, tx *postgres.Tx, in *postgres.Integration, c *eventsv1.Command,
) (*reply, error) {
	p := dbsqlc.DeadClaimRedriveParams{IntegrationID: in.ID, Most: retryAtATime, Now: e.Now()}
	if c.GetItem() != "" {
		row, err := e.deadItem(ctx, tx, in, c.GetItem())
		if err != nil {
			return nil, err
		}
		p.ID = &row.ID
	}
	total, unfit, err := redrive(ctx, tx, p)
	if err != nil {
		return nil, err
	}
	if p.ID != nil && len(unfit) > 0 {
		return nil, reject("dead item %s can't travel (%s); mend the provider, or skip it", p.ID, unfit[0].why)
	}
	if p.ID != nil && total == 0 {
		return nil, reject("dead item %s is not open", c.GetItem())
	}
	reduced := int64(0)
	if p.ID == nil {
		reduced, err = tx.RunSetReduceFailed(
			ctx, dbsqlc.RunSetReduceFailedParams{IntegrationID: in.ID, ReduceFailed: false},
		)
		if err != nil {
			return nil, fmt.Errorf("let runs be reduced again: %w", err)
		}
	}
	if total == 0 && reduced == 0 {
		if len(unfit) > 0 {
			return nil, reject(
				"there is nothing to retry: none of the %d open items can travel (%s); mend the provider, or skip them",
				len(unfit), unfit[0].why,
			)
		}
		return nil, reject("there is nothing to retry: no dead item is open")
	}
	result := fmt.Sprintf("retrying %d items, reducing %d runs again", total, reduced)
	if len(unfit) > 0 {
		result += fmt.Sprintf("; %d stay dead because they can't travel (%s)", len(unfit), unfit[0].why)
	}
	return &reply{result: result}, nil
}

// unfitItem is a dead item that can't be sent in a message, and why.
type unfitItem struct {
	row *postgres.DeadItem
	why string
}

// redrive claims dead items and writes their messages. Items that can't be sent are opened again at the end, so that
// none is claimed twice.
func redrive(
	ctx context.Context, tx *postgres.Tx, p dbsqlc.DeadClaimRedriveParams,
) (total int, unfit []unfitItem, err error) {
	for {
		rows, err := tx.DeadClaimRedrive(ctx, p)
		if err != nil {
			return 0, nil, fmt.Errorf("claim dead items: %w", err)
		}
		messages := make([]postgres.Outgoing, 0, len(rows))
		for _, row := range rows {
			m, err := redriveMessage(row, p.Now)
			if err != nil {
				return 0, nil, err
			}
			if why := travels(tx, row, m); why != "" {
				unfit = append(unfit, unfitItem{row: row, why: why})
				continue
			}
			messages = append(messages, m)
		}
		if err := tx.Publish(ctx, p.Now, messages...); err != nil {
			return 0, nil, err
		}
		if total += len(messages); len(rows) < retryAtATime {
			break
		}
	}
	for _, item := range unfit {
		_, err := tx.DeadReopen(
			ctx,
			dbsqlc.DeadReopenParams{
				ID: item.row.ID, Reason: item.row.Reason, Error: item.row.Error, Tries: item.row.Tries, Now: p.Now,
			},
		)
		if err != nil {
			return 0, nil, fmt.Errorf("leave dead item %s as it is: %w", item.row.ID, err)
		}
	}
	return total, unfit, nil
}

// travels returns why a dead item can't be sent in a message. It is empty for an item that can.
func travels(tx *postgres.Tx, row *postgres.DeadItem, m postgres.Outgoing) string {
	if row.Reason == deaditems.Unencodable || row.Reason == deaditems.Invalid {
		return row.Error.String()
	}
	if err := tx.Accepts(m); err != nil {
		return err.Error()
	}
	return ""
}

// redriveMessage is the message that sends a dead item to the workers, as a batch of one.
func redriveMessage(row *postgres.DeadItem, now time.Time) (postgres.Outgoing, error) {
	address := wire.ItemAddress{
		Lane: wire.Shared, Provider: row.Provider, Integration: row.IntegrationID.String(), Run: row.RunID.String(),
		Attempt: row.Attempt, Batch: row.Batch, Index: row.ItemIndex, Hop: row.Hop,
	}
	id := fmt.Sprintf("%s/%d/%d/%d/%d/redrive", address.Run, address.Attempt, address.Batch, address.Index, address.Hop)
	m, err := wire.NewWork(wire.ItemsSubject(address), id, &eventsv1.ItemBatch{
		RunId: address.Run, Attempt: row.Attempt, Batch: row.Batch, IntegrationId: address.Integration,
		Provider: row.Provider,
		FirstAt:  timestamppb.New(now), DeadItemId: row.ID.String(),
		Items: []*eventsv1.Item{{
			Index: row.ItemIndex, EventType: row.EventType, ExternalId: row.ExternalID, Payload: row.Payload,
			Checkpoint: textOf(row.Checkpoint), Hop: row.Hop,
		}},
	})
	return postgres.Outgoing(m), err
}

func (e *Executor) skip(
	ctx context.Context, tx *postgres.Tx, in *postgres.Integration, c *eventsv1.Command,
) (*reply, error) {
	if c.GetWebhook() != "" {
		return e.skipWebhook(ctx, tx, in, c)
	}
	row, err := e.deadItem(ctx, tx, in, c.GetItem())
	if err != nil {
		return nil, err
	}
	skipped, err := tx.DeadResolve(ctx, dbsqlc.DeadResolveParams{
		ID: row.ID, Status: "skipped", ResolvedBy: foreign.Word(c.GetBy()), Note: foreign.Line(c.GetReason()),
		FromStatuses: []string{"open"}, Now: e.Now(),
	})
	if err != nil {
		return nil, fmt.Errorf("skip dead item %s: %w", row.ID, err)
	}
	if skipped == 0 {
		return nil, reject("dead item %s is %s, only an open one can be skipped", row.ID, row.Status)
	}
	return &reply{
		result: "skipped", run: &row.RunID,
		after: func(ctx context.Context) error { return e.Scheduler.Resolve(ctx, row.RunID) },
	}, nil
}

func (e *Executor) deadItem(
	ctx context.Context, tx *postgres.Tx, in *postgres.Integration, item string,
) (*postgres.DeadItem, error) {
	id, err := uuid.Parse(item)
	if err != nil {
		return nil, reject("%q is not the id of a dead item; list them with: tributary items dead", item)
	}
	row, err := tx.DeadGet(ctx, id)
	if postgres.NotFound(err) || err == nil && row.IntegrationID != in.ID {
		return nil, reject("the integration has no dead item %s", id)
	}
	if err != nil {
		return nil, fmt.Errorf("read dead item %s: %w", id, err)
	}
	return row, nil
}

func textOf(s *string) []byte {
	if s == nil {
		return nil
	}
	return []byte(*s)
}
