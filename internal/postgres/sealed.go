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

// CheckRing returns an error when there are credentials that the process's ring can't open. It looks for one alone, and asks nothing of a process without a ring.
func (s *Store) CheckRing(ctx context.Context) error {
	if s.ring == nil {
		return nil
	}
	row, err := s.CredentialsOfOtherKeys(ctx, s.ring.IDs())
	if NotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for credentials of other keys: %w", err)
	}
	return fmt.Errorf("the key ring lacks the key %q, which has sealed the credentials of integration %s: give all processes the same ring, by TRIBUTARY_KEYS or --keys-file", row.KeyID, row.IntegrationID)
}
