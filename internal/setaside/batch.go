package setaside

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/postgres"
)

// Batch is a list whose elements are claimed and worked on together, in one transaction. Their keys are UUIDs.
type Batch[T any] struct {
	Kind Kind
	// Most is how many elements one transaction has at most.
	Most int
	// Claim locks up to so many elements, none of those in without. Once the step is done they are listed no more.
	Claim func(ctx context.Context, tx *postgres.Tx, most int32, without []uuid.UUID) ([]T, error)
	Name  func(T) Element
	Step  func(ctx context.Context, tx *postgres.Tx, elements []T) error
}

// RunBatch does a batch, but for elements that wait for their next try. When the step fails, the elements are done one at a time, each in a transaction of its
// own, and those that fail are noted. It returns how many elements it claimed; the error is as that of [Run].
func RunBatch[T any](ctx context.Context, s *Set, b Batch[T]) (int, error) {
	known, err := s.Load(ctx, b.Kind)
	if err != nil {
		return 0, err
	}
	without := []uuid.UUID{}
	for key := range known {
		if id, err := uuid.Parse(key); err == nil && known.Waits(key, s.Now()) {
			without = append(without, id)
		}
	}
	elements, err := takeBatch(ctx, s, b, b.Most, without, known)
	if err == nil || len(elements) == 0 || postgres.Unavailable(err) {
		return len(elements), err
	}
	if len(elements) == 1 {
		return 1, s.failed(ctx, b.Kind, elements[0], err)
	}
	for done := range b.Most {
		elements, err := takeBatch(ctx, s, b, 1, without, known)
		if len(elements) == 0 || postgres.Unavailable(err) {
			return done, err
		}
		if err == nil {
			continue
		}
		if err := s.failed(ctx, b.Kind, elements[0], err); err != nil {
			return done, err
		}
		id, err := uuid.Parse(elements[0].Key)
		if err != nil {
			return done, fmt.Errorf("%s %q: %w", b.Kind, elements[0].Key, err)
		}
		without = append(without, id)
	}
	return b.Most, nil
}

// takeBatch does one transaction, and forgets which of its elements had failed before. With an error it returns what was claimed.
func takeBatch[T any](ctx context.Context, s *Set, b Batch[T], most int, without []uuid.UUID, known Known) (claimed []Element, err error) {
	err = s.try(ctx, b.Kind, func(ctx context.Context) error {
		return s.Store.InTx(ctx, func(tx *postgres.Tx) error {
			elements, err := b.Claim(ctx, tx, int32(most), without)
			if err != nil || len(elements) == 0 {
				return err
			}
			for _, element := range elements {
				claimed = append(claimed, b.Name(element))
			}
			if err := b.Step(ctx, tx, elements); err != nil {
				return err
			}
			for _, e := range claimed {
				if known[e.Key] == nil {
					continue
				}
				if err := s.Done(ctx, tx, b.Kind, e.Key); err != nil {
					return err
				}
			}
			return nil
		})
	})
	return claimed, err
}

// failed notes the failure of an element, unless it is that of a store or of a process that is ending.
func (s *Set) failed(ctx context.Context, kind Kind, e Element, cause error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if away := s.Ready(ctx, kind); away != nil {
		return errors.Join(fmt.Errorf("%s %s: %w", kind, e.Key, cause), away)
	}
	return s.Note(ctx, kind, e, cause)
}
