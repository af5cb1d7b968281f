package tokenrefresher

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// serviceName is who acts, in the audit, when no person does.
const serviceName = "token-refresher"

func ref(row *postgres.Integration) *eventsv1.Ref {
	return wire.NewRef(row.ID.String(), row.Provider, row.Name, row.Owner)
}

func publish(ctx context.Context, tx *postgres.Tx, now time.Time, name events.Name, row *postgres.Integration, m proto.Message) error {
	encoded, err := wire.NewEvent(name, row.Provider, row.ID.String(), "", m)
	if err != nil {
		return err
	}
	return tx.Publish(ctx, now, postgres.Outgoing(encoded))
}

func stampOf(at *time.Time) *timestamppb.Timestamp {
	if at == nil {
		return nil
	}
	return timestamppb.New(*at)
}
