package scheduler

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tributaryhq/tributary/internal/deferral"
	"github.com/tributaryhq/tributary/internal/loop"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/setaside"
	"github.com/tributaryhq/tributary/internal/wire"
)

const (
	// endedAtATime bounds how many ended causes one look takes.
	endedAtATime = 100
	// secondPass is how long after its end a cause is looked after once more: what was being deferred at that moment
	// was in no list yet.
	secondPass = 10 * time.Second
)

// endWaits brings forward what waits for causes that have ended: runs, webhooks and items. A cause stays noted until
// both passes are made, whatever dies meanwhile.
func (s *Scheduler) endWaits(ctx context.Context) error {
	return setaside.Run(ctx, s.SetAside, setaside.Sweep[*dbsqlc.WaitsEndedDueRow]{
		Kind: setaside.EndWait, Most: endedAtATime, Step: s.endWait,
		Name: func(row *dbsqlc.WaitsEndedDueRow) setaside.Element {
			return setaside.Element{Key: row.IntegrationID.String() + "/" + row.Cause, Integration: row.IntegrationID}
		},
		List: func(ctx context.Context, most int32) ([]*dbsqlc.WaitsEndedDueRow, error) {
			rows, err := s.Store.WaitsEndedDue(ctx, s.Now().Add(-secondPass), most)
			if err != nil {
				return nil, fmt.Errorf("look for causes of waits that have ended: %w", err)
			}
			return rows, nil
		},
	})
}

func (s *Scheduler) endWait(ctx context.Context, row *dbsqlc.WaitsEndedDueRow) error {
	now := s.Now()
	runs, err := s.Store.RunEndWaits(ctx, dbsqlc.RunEndWaitsParams{
		IntegrationID: row.IntegrationID, Cause: row.Cause,
		Now: now,
	})
	if err != nil {
		return fmt.Errorf("wake the run of %s: %w", row.IntegrationID, err)
	}
	webhooks, err := s.Store.WebhookEndWaits(ctx, dbsqlc.WebhookEndWaitsParams{
		IntegrationID: row.IntegrationID,
		Cause:         row.Cause, Now: now,
	})
	if err != nil {
		return fmt.Errorf("wake the webhooks of %s: %w", row.IntegrationID, err)
	}
	bounded, cancel := context.WithTimeout(ctx, s.Settings.Hasten)
	defer cancel()
	items, err := s.Bus.Hasten(bounded, wire.StreamItems, wire.RetryFilter(row.Provider, row.IntegrationID.String()),
		func(header nats.Header) bool {
			cause := header.Get(wire.HeaderWaitsFor)
			return row.Cause == string(deferral.Clock) || cause != "" &&
				(cause == row.Cause || row.Cause == string(deferral.Any))
		})
	more := bounded.Err() != nil && ctx.Err() == nil
	if err != nil && !more {
		return fmt.Errorf("wake the items of %s: %w", row.IntegrationID, err)
	}
	if runs+webhooks+int64(items) > 0 {
		s.Log.Info("waits have ended early", "integration", row.IntegrationID, "cause", row.Cause, "runs", runs,
			"webhooks", webhooks, "item_messages", items)
		loop.Kick(s.due)
	}
	if more {
		// The next look goes on, after those for others: as if it had ended now, it is the last of the list.
		return s.Store.WaitsEnd(ctx, dbsqlc.WaitsEndParams{
			IntegrationID: row.IntegrationID, Cause: row.Cause,
			Now: s.Now(),
		})
	}
	if row.Passes == 0 {
		return s.Store.WaitsEndedPassed(ctx, dbsqlc.WaitsEndedPassedParams{
			IntegrationID: row.IntegrationID,
			Cause:         row.Cause, At: row.At,
		})
	}
	return s.Store.WaitsEndedDone(ctx, dbsqlc.WaitsEndedDoneParams{
		IntegrationID: row.IntegrationID, Cause: row.Cause,
		At: row.At,
	})
}
