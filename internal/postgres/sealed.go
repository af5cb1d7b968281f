package postgres

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Keys is how many values each key has sealed, beside what the ring holds.
type Keys struct {
	// Primary seals; IDs are all keys of the ring, the primary first.
	Primary string
	IDs     []string
	// Sealed counts values by the id of their key, whether the ring has it or not.
	Sealed map[string]int64
	// Left is how many values wait to be sealed by the primary.
	Left int64
	// Missing are the keys that have sealed values and are not in the ring.
	Missing []string
}

// Keys tells how far a rotation has come; nothing, in a process that has no ring.
func (s *Store) Keys(ctx context.Context, now time.Time) (Keys, error) {
	if s.ring == nil {
		return Keys{}, nil
	}
	k := Keys{Primary: s.ring.Primary(), IDs: s.ring.IDs(), Sealed: map[string]int64{}}
	rows, err := s.SealedCountByKey(ctx, now)
	if err != nil {
		return k, fmt.Errorf("count sealed values by key: %w", err)
	}
	for _, row := range rows {
		k.Sealed[row.KeyID] = row.Sealed
		if row.KeyID != k.Primary {
			k.Left += row.Sealed
		}
		if !slices.Contains(k.IDs, row.KeyID) {
			k.Missing = append(k.Missing, row.KeyID)
		}
	}
	return k, nil
}
