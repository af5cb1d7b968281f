package scheduler

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/setaside"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// commandReplay gives deliveries all their tries again.
func (s *Scheduler) commandReplay(ctx context.Context, tx *postgres.Tx, integration *postgres.Integration, c *eventsv1.Command) (*reply, error) {
	p := dbsqlc.WebhookReplayParams{IntegrationID: integration.ID, FailedOnly: c.GetFailed(), Since: timeOf(c.GetSince()), Until: timeOf(c.GetUntil()), Now: s.Now()}
	if c.GetWebhook() != "" {
		row, err := s.webhook(ctx, tx, integration, c.GetWebhook())
		if err != nil {
			return nil, err
		}
		if row.Status == "pending" || row.Status == "processing" {
			return nil, reject("webhook %s is %s: it is handled anyway", row.ID, row.Status)
		}
		p.ID = &row.ID
	}
	replayed, err := tx.WebhookReplay(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("replay webhooks: %w", err)
	}
	if replayed == 0 {
		return nil, reject("there is no such webhook to replay")
	}
	return &reply{result: fmt.Sprintf("replaying %d webhooks", replayed)}, nil
}

// skipWebhook gives a failed delivery up.
func (s *Scheduler) skipWebhook(ctx context.Context, tx *postgres.Tx, integration *postgres.Integration, c *eventsv1.Command) (*reply, error) {
	row, err := s.webhook(ctx, tx, integration, c.GetWebhook())
	if err != nil {
		return nil, err
	}
	now := s.Now()
	skipped, err := tx.WebhookSkip(ctx, dbsqlc.WebhookSkipParams{ID: row.ID, IntegrationID: integration.ID, ResolvedBy: foreign.Word(c.GetBy()), Reason: foreign.Line(c.GetReason()), Now: &now})
	if err != nil {
		return nil, fmt.Errorf("skip webhook %s: %w", row.ID, err)
	}
	if skipped == 0 {
		return nil, reject("webhook %s is %s, only a failed one can be skipped", row.ID, row.Status)
	}
	return &reply{result: "skipped"}, nil
}

func (s *Scheduler) webhook(ctx context.Context, tx *postgres.Tx, integration *postgres.Integration, name string) (*postgres.Webhook, error) {
	id, err := uuid.Parse(name)
	if err != nil {
		return nil, reject("%q is not the id of a webhook; list them with: tributary webhooks list", name)
	}
	row, err := tx.WebhookGet(ctx, id)
	if postgres.NotFound(err) || err == nil && row.IntegrationID != integration.ID {
		return nil, reject("the integration has no webhook %s", id)
	}
	if err != nil {
		return nil, fmt.Errorf("read webhook %s: %w", id, err)
	}
	return row, nil
}

// timeOf reads a time of a command, which was checked before.
func timeOf(text string) *time.Time {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return nil
	}
	return &at
}

// markSilent says, once an episode, which integrations have got no webhook for too long.
func (s *Scheduler) markSilent(ctx context.Context) error {
	if s.Settings.WebhookSilence <= 0 {
		return nil
	}
	now := s.Now()
	type row = *dbsqlc.WebhookMarkSilentRow
	_, err := setaside.RunBatch(ctx, s.SetAside, setaside.Batch[row]{
		Kind: setaside.MarkSilent, Most: sweepAtATime,
		Name: func(r row) setaside.Element {
			return setaside.Element{Key: r.ID.String(), Integration: r.ID, About: r.Name}
		},
		Claim: func(ctx context.Context, tx *postgres.Tx, most int32, without []uuid.UUID) ([]row, error) {
			rows, err := tx.WebhookMarkSilent(ctx, dbsqlc.WebhookMarkSilentParams{Now: &now, NoneSince: now.Add(-s.Settings.WebhookSilence), Without: without, Most: most})
			if err != nil {
				return nil, fmt.Errorf("look for integrations without webhooks: %w", err)
			}
			return rows, nil
		},
		Step: func(ctx context.Context, tx *postgres.Tx, rows []row) error {
			for _, r := range rows {
				m, err := events.NewEvent(events.WebhooksSilent, r.Provider, r.ID.String(), "", &eventsv1.WebhooksSilent{
					Integration: events.NewRef(r.ID.String(), r.Provider, r.Name, r.Owner), LastReceivedAt: timestamppb.New(r.LastReceivedAt),
				})
				if err != nil {
					return err
				}
				if err := tx.Publish(ctx, now, postgres.Outgoing(m)); err != nil {
					return err
				}
				s.Log.Warn("integration has got no webhook for long", "integration", r.Name, "provider", r.Provider, "last", r.LastReceivedAt)
			}
			return nil
		},
	})
	return err
}
