package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/secret"
)

// CachedAnswer is a variant of an answer that an upstream gave.
type CachedAnswer struct {
	*dbsqlc.CachedAnswer
	Plain []byte
}

// CachedAnswers opens the variants of an answer that are still kept. One that can't be opened, as its key has left the ring, is left out.
func (s *Store) CachedAnswers(ctx context.Context, key []byte, now time.Time) ([]CachedAnswer, error) {
	rows, err := s.AnswerList(ctx, key, now)
	if err != nil {
		return nil, fmt.Errorf("read cached answers: %w", err)
	}
	var opened []CachedAnswer
	for _, row := range rows {
		if plain, err := s.ring.Open(row.KeyID, row.Sealed, cachePlace(row.Key, row.Variant)); err == nil {
			opened = append(opened, CachedAnswer{CachedAnswer: row, Plain: plain})
		}
	}
	return opened, nil
}

// PutCachedAnswer seals and stores an answer.
func (s *Store) PutCachedAnswer(ctx context.Context, answer dbsqlc.AnswerPutParams, plain []byte) error {
	var err error
	if answer.KeyID, answer.Sealed, err = s.ring.Seal(plain, cachePlace(answer.Key, answer.Variant)); err != nil {
		return fmt.Errorf("seal an answer: %w", err)
	}
	if err := s.AnswerPut(ctx, answer); err != nil {
		return fmt.Errorf("store an answer: %w", err)
	}
	return nil
}

// cachePlace keeps a sealed answer from being read as another one.
func cachePlace(key, variant []byte) secret.Place {
	return secret.Place{Row: append(append([]byte("answer\x00"), key...), variant...)}
}
