package postgres

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/secret"
)

// The states of an idempotency key.
const (
	KeyReserved  = "reserved"
	KeySucceeded = "succeeded"
	KeyFailed    = "failed"
	KeyUnknown   = "unknown"
)

// HeldKey is an idempotency key that somebody else has, with its answer opened.
type HeldKey struct {
	*dbsqlc.IdempotencyKey
	Answer []byte
}

// ReserveKey takes a key and returns its previous owner, or returns who has it; see the query. One whose lease is over is unknown from then on.
func (s *Store) ReserveKey(ctx context.Context, claim dbsqlc.KeyReserveParams) (previous uuid.UUID, held *HeldKey, err error) {
	taken, err := s.KeyReserve(ctx, claim)
	if err == nil {
		return taken.Previous, nil, nil
	}
	if !NotFound(err) {
		return uuid.Nil, nil, fmt.Errorf("take an idempotency key: %w", err)
	}
	expired, err := s.KeyExpire(ctx, dbsqlc.KeyExpireParams{IntegrationID: claim.IntegrationID, Key: claim.Key, Hop: claim.Hop, Now: claim.Now})
	if err != nil {
		return uuid.Nil, nil, fmt.Errorf("look at the lease of an idempotency key: %w", err)
	}
	row, err := s.KeyGet(ctx, dbsqlc.KeyGetParams{IntegrationID: claim.IntegrationID, Key: claim.Key, Hop: claim.Hop})
	if err != nil {
		return uuid.Nil, nil, fmt.Errorf("read an idempotency key: %w", err)
	}
	held = &HeldKey{IdempotencyKey: row}
	if row.KeyID != nil && expired == 0 {
		if held.Answer, err = s.ring.Open(*row.KeyID, row.Sealed, answerPlace(row.IntegrationID, row.Key, row.Hop)); err != nil {
			return uuid.Nil, nil, fmt.Errorf("open the answer of an idempotency key: %w", err)
		}
	}
	return uuid.Nil, held, nil
}

// SettleKey writes down what came of a request, its answer sealed, and reports whether the key was still its owner's.
func (s *Store) SettleKey(ctx context.Context, outcome dbsqlc.KeySettleParams, answer []byte) (bool, error) {
	if answer != nil {
		keyID, sealed, err := s.ring.Seal(answer, answerPlace(outcome.IntegrationID, outcome.Key, outcome.Hop))
		if err != nil {
			return false, fmt.Errorf("seal the answer of an idempotency key: %w", err)
		}
		outcome.KeyID, outcome.Sealed = &keyID, sealed
	}
	settled, err := s.KeySettle(ctx, outcome)
	if err != nil {
		return false, fmt.Errorf("settle an idempotency key: %w", err)
	}
	return settled > 0, nil
}

// answerPlace keeps a sealed answer from being read as that of another key.
func answerPlace(integration uuid.UUID, key string, hop int32) secret.Place {
	return secret.Place{Row: fmt.Appendf(integration[:], "\x00%d\x00%s", hop, key)}
}
