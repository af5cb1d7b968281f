package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/secret"
)

func (s *Store) resealWebhooks(ctx context.Context, tx *Tx, primary string, rows []stale, done *Resealed) error {
	if len(rows) == 0 {
		return nil
	}
	p := dbsqlc.WebhookResealParams{KeyID: primary}
	err := s.resealEach(rows, primary, done, func(row stale, sealed []byte) {
		p.Ids, p.OldKeyIds, p.Sealed = append(p.Ids, row.id), append(p.OldKeyIds, row.keyID), append(p.Sealed, sealed)
	})
	if err != nil {
		return err
	}
	n, err := tx.WebhookReseal(ctx, p)
	if err != nil {
		return fmt.Errorf("seal webhooks anew: %w", err)
	}
	done.Sealed += int(n)
	return nil
}

// resealAnswers seals the answers of idempotency keys anew, some in each transaction, and drops cached ones.
func (s *Store) resealAnswers(ctx context.Context, primary string, most int, done *Resealed) error {
	if err := s.dropAnswers(ctx, primary, most); err != nil {
		return err
	}
	from := dbsqlc.KeyStaleParams{KeyID: primary, Most: int32(most)}
	for more := true; more; {
		err := s.InTx(ctx, func(tx *Tx) error {
			rows, err := tx.KeyStale(ctx, from)
			if err != nil {
				return fmt.Errorf("look for answers to seal anew: %w", err)
			}
			if more = len(rows) == most; len(rows) == 0 {
				return nil
			}
			last := rows[len(rows)-1]
			from.AfterIntegration, from.AfterKey, from.AfterHop = last.IntegrationID, last.Key, last.Hop
			return s.resealKeys(ctx, tx, primary, rows, done)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// dropAnswers drops the cached answers that another key has sealed: it looks at all of them, some at a time.
func (s *Store) dropAnswers(ctx context.Context, primary string, most int) error {
	from := dbsqlc.AnswerKeysParams{AfterKey: []byte{}, AfterVariant: []byte{}, Most: int32(most)}
	for {
		rows, err := s.AnswerKeys(ctx, from)
		if err != nil {
			return fmt.Errorf("look for cached answers to drop: %w", err)
		}
		if len(rows) == 0 {
			return nil
		}
		p := dbsqlc.AnswerDropParams{KeyID: primary}
		for _, row := range rows {
			if row.KeyID != primary {
				p.Keys, p.Variants = append(p.Keys, row.Key), append(p.Variants, row.Variant)
			}
		}
		if err := s.AnswerDrop(ctx, p); err != nil {
			return fmt.Errorf("drop cached answers: %w", err)
		}
		last := rows[len(rows)-1]
		from.AfterKey, from.AfterVariant = last.Key, last.Variant
	}
}

func (s *Store) resealKeys(ctx context.Context, tx *Tx, primary string, rows []*dbsqlc.KeyStaleRow, done *Resealed) error {
	p := dbsqlc.KeyResealParams{KeyID: primary}
	for _, row := range rows {
		place := answerPlace(row.IntegrationID, row.Key, row.Hop)
		plain, err := s.ring.Open(row.KeyID, row.Sealed, place)
		if errors.Is(err, secret.ErrUnknownKey) || errors.Is(err, secret.ErrOpen) {
			done.Stuck = append(done.Stuck, row.IntegrationID)
			continue
		}
		if err != nil {
			return err
		}
		keyID, sealed, err := s.ring.Seal(plain, place)
		if err != nil {
			return fmt.Errorf("seal an answer anew: %w", err)
		}
		if keyID != primary {
			return errRingChanged
		}
		p.Integrations, p.Keys, p.Hops = append(p.Integrations, row.IntegrationID), append(p.Keys, row.Key), append(p.Hops, row.Hop)
		p.OldKeyIds, p.Sealed = append(p.OldKeyIds, row.KeyID), append(p.Sealed, sealed)
	}
	n, err := tx.KeyReseal(ctx, p)
	if err != nil {
		return fmt.Errorf("seal answers anew: %w", err)
	}
	done.Sealed += int(n)
	return nil
}
