package scheduler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/tributaryhq/tributary/internal/deferral"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/events"
)

const (
	// endedAtATime bounds how many ended causes one look takes.
	endedAtATime = 100
	// secondPass is how long after its end a cause is looked after once more: what was being deferred at that moment was in no list yet.
	secondPass = 10 * time.Second
)

// endWaits brings forward what waits for causes that have ended: runs, webhooks and items. A cause stays noted until both passes are made, whatever dies meanwhile.
func (s *Scheduler) endWaits(ctx context.Context) error {
	ended, err := s.Store.WaitsEndedDue(ctx, s.Now().Add(-secondPass), endedAtATime)
	if err != nil {
		return fmt.Errorf("look for causes of waits that have ended: %w", err)
	}
	var problems []error
	for _, row := range ended {
		if err := s.endWait(ctx, row); err != nil {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

func (s *Scheduler) endWait(ctx context.Context, row *dbsqlc.WaitsEndedDueRow) error {
	now := s.Now()
	runs, err := s.Store.RunEndWaits(ctx, dbsqlc.RunEndWaitsParams{IntegrationID: row.IntegrationID, Cause: row.Cause, Now: now})
	if err != nil {
		return fmt.Errorf("wake the run of %s: %w", row.IntegrationID, err)
	}
	webhooks, err := s.Store.WebhookEndWaits(ctx, dbsqlc.WebhookEndWaitsParams{IntegrationID: row.IntegrationID, Cause: row.Cause, Now: now})
	if err != nil {
		return fmt.Errorf("wake the webhooks of %s: %w", row.IntegrationID, err)
	}
	items, err := s.Bus.Hasten(ctx, events.StreamItems, events.RetryFilter(row.Provider, row.IntegrationID.String()), func(header nats.Header) bool {
		cause := header.Get(events.HeaderWaitsFor)
		return cause != "" && (cause == row.Cause || row.Cause == string(deferral.Any))
	})
	if err != nil {
		return fmt.Errorf("wake the items of %s: %w", row.IntegrationID, err)
	}
	if runs+webhooks+int64(items) > 0 {
		s.Log.Info("waits have ended early", "integration", row.IntegrationID, "cause", row.Cause, "runs", runs, "webhooks", webhooks, "item_messages", items)
		kick(s.due)
	}
	if row.Passes == 0 {
		return s.Store.WaitsEndedPassed(ctx, dbsqlc.WaitsEndedPassedParams{IntegrationID: row.IntegrationID, Cause: row.Cause, At: row.At})
	}
	return s.Store.WaitsEndedDone(ctx, dbsqlc.WaitsEndedDoneParams{IntegrationID: row.IntegrationID, Cause: row.Cause, At: row.At})
}

// waitEnded is what a cause's end is noted by, in the transaction that ends it.
func waitEnded(integration uuid.UUID, cause deferral.Cause, now time.Time) dbsqlc.WaitsEndParams {
	return dbsqlc.WaitsEndParams{IntegrationID: integration, Cause: string(cause), Now: now}
}
