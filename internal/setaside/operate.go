package setaside

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
)

var (
	// ErrUnknown is returned for an id of which nothing is set aside: there never was, or it was done meanwhile.
	ErrUnknown = errors.New("nothing with this id is set aside")
	// ErrDropped is returned for what was dropped before.
	ErrDropped = errors.New("it was dropped before")
)

// Retry gives one element all its tries again, at once. A message that was dropped is gone, which returns [ErrDropped].
func (s *Set) Retry(ctx context.Context, id uuid.UUID) (*dbsqlc.SetAside, error) {
	row, err := s.get(ctx, id)
	if err != nil {
		return nil, err
	}
	if row.DroppedAt != nil && row.Kind == string(Message) {
		return nil, ErrDropped
	}
	rows, err := s.Store.SetAsideRetry(ctx, dbsqlc.SetAsideRetryParams{ID: &id, Now: s.Now()})
	if err != nil {
		return nil, fmt.Errorf("retry %s %s: %w", row.Kind, row.Key, err)
	}
	if len(rows) == 0 {
		return nil, ErrUnknown
	}
	return rows[0], nil
}

// RetryAll gives everything that is set aside its tries again: that of one kind, or with an empty kind all. It returns how much that is.
func (s *Set) RetryAll(ctx context.Context, kind Kind) (int, error) {
	rows, err := s.Store.SetAsideRetry(ctx, dbsqlc.SetAsideRetryParams{Kind: string(kind), Now: s.Now()})
	if err != nil {
		return 0, fmt.Errorf("retry what is set aside: %w", err)
	}
	return len(rows), nil
}

// Drop has an element tried no more. A message is deleted; other work is left as it is, until it is retried.
func (s *Set) Drop(ctx context.Context, id uuid.UUID, by, reason string) (dropped *dbsqlc.SetAside, err error) {
	row, err := s.get(ctx, id)
	if err != nil {
		return nil, err
	}
	if row.DroppedAt != nil {
		return nil, ErrDropped
	}
	err = s.Store.InTx(ctx, func(tx *postgres.Tx) error {
		if row.Kind == string(Message) {
			// The message first, as the relay locks them.
			key, err := uuid.Parse(row.Key)
			if err != nil {
				return fmt.Errorf("drop message %q: %w", row.Key, err)
			}
			if _, err := tx.OutboxDrop(ctx, key); err != nil {
				return fmt.Errorf("drop message %s: %w", key, err)
			}
		}
		dropped, err = tx.SetAsideDrop(ctx, dbsqlc.SetAsideDropParams{ID: id, Now: s.Now(), DroppedBy: by, DropReason: reason})
		if postgres.NotFound(err) {
			return ErrUnknown
		}
		if err != nil {
			return fmt.Errorf("drop %s %s: %w", row.Kind, row.Key, err)
		}
		return s.settled(ctx, tx, dropped, settlement{outcome: "dropped", by: by, reason: reason})
	})
	return dropped, err
}

func (s *Set) get(ctx context.Context, id uuid.UUID) (*dbsqlc.SetAside, error) {
	row, err := s.Store.SetAsideGet(ctx, id)
	if postgres.NotFound(err) {
		return nil, ErrUnknown
	}
	if err != nil {
		return nil, fmt.Errorf("read what is set aside: %w", err)
	}
	return row, nil
}
