// Package acme is a provider of a repository of its own: it imports Tributary and is compiled into a binary of its own, cmd/acme, which runs beside the
// stock one.
package acme

import (
	"context"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// Order is what the upstream has. Its Go type names the event, acme.Order, and picks the handlers.
type Order struct {
	ID       string `json:"id"`
	Cents    int64  `json:"cents"`
	Revision int64  `json:"revision"` // grows with every change to any order
}

// Credentials and Metadata are what an integration consists of; the tags are their rules.
type Credentials struct {
	Key string `json:"key" validate:"required,min=8"`
}

// Metadata says where the shop is.
type Metadata struct {
	URL string `json:"url" validate:"required,http_url"`
}

// Provider syncs the orders of a shop. The embedded types give it rules, typed data, and a cursor: the greatest checkpoint.
type Provider struct {
	contracts.TypedCredentials[Credentials]
	contracts.TypedMetadata[Metadata]
	contracts.MaxNumber
}

func (Provider) Name() string                           { return "Acme" }
func (Provider) DefaultSyncInterval() time.Duration     { return 5 * time.Minute }
func (Provider) DefaultRateLimit() *contracts.RateLimit { return nil }

// Sync hands over every order. In a full sync the session has no cursor, so that this is the same work.
func (p Provider) Sync(ctx context.Context, in *contracts.Integration, session contracts.SyncSession) error {
	return p.SyncIncremental(ctx, in, session)
}

// SyncIncremental hands over the orders that changed since the cursor.
func (Provider) SyncIncremental(ctx context.Context, in *contracts.Integration, session contracts.SyncSession) error {
	after := int64(0)
	if cursor, ok := session.Cursor(); ok {
		if err := cursor.Decode(&after); err != nil {
			return contracts.Permanent(err)
		}
	}
	for {
		orders, err := changedAfter(ctx, in, after)
		if err != nil || len(orders) == 0 {
			return err
		}
		for _, order := range orders {
			if err := session.Dispatch(ctx, order, order.Revision, order.ID); err != nil {
				return err
			}
			after = order.Revision
		}
	}
}
