// Package announce makes the events that tell applications what became of an integration. Services publish them in the
// transaction that changes the integration.
package announce

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// Ref names an integration in an event. It is nil for events about the whole installation.
func Ref(in *postgres.Integration) *eventsv1.Ref {
	if in == nil {
		return nil
	}
	return wire.NewRef(in.ID.String(), in.Provider, in.Name, in.Owner)
}

// Event is an event about an integration. Without one, it is about the whole installation.
func Event(name events.Name, in *postgres.Integration, body proto.Message) (postgres.Outgoing, error) {
	provider, id := "", ""
	if in != nil {
		provider, id = in.Provider, in.ID.String()
	}
	m, err := wire.NewEvent(name, provider, id, "", body)
	return postgres.Outgoing(m), err
}

// Publish publishes an event about an integration when the transaction commits.
func Publish(
	ctx context.Context, tx *postgres.Tx, now time.Time, name events.Name, in *postgres.Integration, body proto.Message,
) error {
	m, err := Event(name, in, body)
	if err != nil {
		return err
	}
	return tx.Publish(ctx, now, m)
}
