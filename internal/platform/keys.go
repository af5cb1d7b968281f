package platform

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/idempotency"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
)

// keyStore has the ledger of idempotency keys in Postgres.
type keyStore struct{ *postgres.Store }

var errKeyGone = errors.New("the key was given to another request since")

func (s keyStore) Reserve(
	ctx context.Context, claim idempotency.Claim,
) (previous uuid.UUID, held *idempotency.Held, err error) {
	previous, found, err := s.ReserveKey(ctx, dbsqlc.KeyReserveParams{
		IntegrationID: idOf(claim.Integration), Key: claim.Key, Hop: int32(claim.Hop), Provider: claim.Provider,
		Fingerprint: claim.Fingerprint, Owner: claim.Owner,
		LeaseUntil: claim.LeaseUntil, Now: claim.Now, Deduped: claim.Deduped,
	})
	if err != nil || found == nil {
		return previous, nil, err
	}
	return uuid.Nil, &idempotency.Held{
		State: idempotency.State(found.State), Fingerprint: found.Fingerprint,
		LeaseUntil: found.LeaseUntil, Answer: found.Answer,
	}, nil
}

func (s keyStore) Settle(ctx context.Context, claim idempotency.Claim, outcome idempotency.Outcome) error {
	params := dbsqlc.KeySettleParams{
		IntegrationID: idOf(claim.Integration), Key: claim.Key, Hop: int32(claim.Hop), Owner: claim.Owner,
		State: string(outcome.State), Error: outcome.Error, Now: outcome.Now,
	}
	if outcome.Request != uuid.Nil {
		params.RequestID = &outcome.Request
	}
	settled, err := s.SettleKey(ctx, params, outcome.Answer)
	if err == nil && !settled {
		return errKeyGone
	}
	return err
}
