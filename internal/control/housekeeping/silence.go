package housekeeping

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/setaside"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// markSilent publishes, once an episode, which integrations have received no webhook for too long.
func (k *Keeper) markSilent(ctx context.Context) error {
	if k.Settings.WebhookSilence <= 0 {
		return nil
	}
	now := k.Now()
	type row = *dbsqlc.WebhookMarkSilentRow
	_, err := setaside.RunBatch(ctx, k.SetAside, setaside.Batch[row]{
		Kind: setaside.MarkSilent, Most: sweepAtATime,
		Name: func(r row) setaside.Element {
			return setaside.Element{Key: r.ID.String(), Integration: r.ID, About: r.Name}
		},
		Claim: func(ctx context.Context, tx *postgres.Tx, most int32, without []uuid.UUID) ([]row, error) {
			rows, err := tx.WebhookMarkSilent(
				ctx,
				dbsqlc.WebhookMarkSilentParams{
					Now: &now, NoneSince: now.Add(-k.Settings.WebhookSilence), Without: without, Most: most,
				},
			)
			if err != nil {
				return nil, fmt.Errorf("look for integrations without webhooks: %w", err)
			}
			return rows, nil
		},
		Step: func(ctx context.Context, tx *postgres.Tx, rows []row) error {
			for _, r := range rows {
				m, err := wire.NewEvent(events.WebhooksSilent, r.Provider, r.ID.String(), "", &eventsv1.WebhooksSilent{
					Integration:    wire.NewRef(r.ID.String(), r.Provider, r.Name, r.Owner),
					LastReceivedAt: timestamppb.New(r.LastReceivedAt),
				})
				if err != nil {
					return err
				}
				if err := tx.Publish(ctx, now, postgres.Outgoing(m)); err != nil {
					return err
				}
				k.Log.Warn(
					"integration has got no webhook for long", "integration", r.Name, "provider", r.Provider, "last",
					r.LastReceivedAt,
				)
			}
			return nil
		},
	})
	return err
}
