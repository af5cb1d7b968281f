package setaside

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// settlement is how an element stops being set aside.
type settlement struct{ outcome, by, reason string }

func publishSetAside(ctx context.Context, tx *postgres.Tx, row *dbsqlc.SetAside, now time.Time) error {
	about, err := refOf(ctx, tx, row)
	if err != nil {
		return err
	}
	m, err := wire.NewEvent(events.WorkSetAside, about.GetProvider(), about.GetIntegrationId(), "",
		&eventsv1.WorkSetAside{
			Id: row.ID.String(), Kind: row.Kind, Key: row.Key, Integration: about, About: row.About,
			Error: row.Error.String(), Tries: row.Tries,
			FailedFirst: timestamppb.New(row.FailedFirst), NextTryAt: timestamppb.New(row.NextTryAt),
		})
	if err != nil {
		return err
	}
	return tx.Publish(ctx, now, postgres.Outgoing(m))
}

// settled reports that what was set aside no longer is. What had only failed a few times was never reported.
func (s *Set) settled(ctx context.Context, tx *postgres.Tx, row *dbsqlc.SetAside, how settlement) error {
	if row.SetAsideAt == nil {
		return nil
	}
	now := s.Now()
	about, err := refOf(ctx, tx, row)
	if err != nil {
		return err
	}
	m, err := wire.NewEvent(events.WorkSettled, about.GetProvider(), about.GetIntegrationId(), "",
		&eventsv1.WorkSettled{
			Id: row.ID.String(), Kind: row.Kind, Key: row.Key, Integration: about, About: row.About,
			Outcome: how.outcome, By: how.by, Reason: how.reason, At: timestamppb.New(now),
		})
	if err != nil {
		return err
	}
	if err := tx.Publish(ctx, now, postgres.Outgoing(m)); err != nil {
		return err
	}
	s.Log.Info("work is no longer set aside", "kind", row.Kind, "key", row.Key, "about", row.About, "outcome",
		how.outcome, "by", how.by, "reason", how.reason)
	return nil
}

// refOf names the integration that an element belongs to; nil for none, and for one that is gone.
func refOf(ctx context.Context, tx *postgres.Tx, row *dbsqlc.SetAside) (*eventsv1.Ref, error) {
	if row.IntegrationID == nil {
		return nil, nil
	}
	in, err := tx.IntegrationGet(ctx, *row.IntegrationID)
	if postgres.NotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read integration %s: %w", row.IntegrationID, err)
	}
	return wire.NewRef(in.ID.String(), in.Provider, in.Name, in.Owner), nil
}
