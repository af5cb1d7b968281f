package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
)

// ErrCredentialsChanged means that somebody else wrote the credentials first.
var ErrCredentialsChanged = errors.New("the credentials were changed by somebody else")

// Credentials opens an integration's credentials and returns their version: nil and 0 where there are none. An error from opening wraps the
// secret package's, and never looks like "no credentials".
func (s *Store) Credentials(ctx context.Context, integration uuid.UUID) (json.RawMessage, int64, error) {
	row, err := s.CredentialsGet(ctx, integration)
	if NotFound(err) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read credentials of %s: %w", integration, err)
	}
	plain, err := s.ring.Open(row.KeyID, row.Sealed, integration[:])
	if err != nil {
		return nil, 0, fmt.Errorf("open credentials of %s: %w", integration, err)
	}
	return plain, row.Version, nil
}

// PutCredentials seals and stores credentials if their version is still the given one, 0 for none. It returns [ErrCredentialsChanged] if not.
func (s *Store) PutCredentials(ctx context.Context, tx *Tx, integration uuid.UUID, plain json.RawMessage, version int64, now time.Time) error {
	keyID, sealed, err := s.ring.Seal(plain, integration[:])
	if err != nil {
		return fmt.Errorf("seal credentials of %s: %w", integration, err)
	}
	stored, err := tx.CredentialsPut(ctx, dbsqlc.CredentialsPutParams{
		IntegrationID: integration, KeyID: keyID, Sealed: sealed, Version: version, Now: now,
	})
	if err != nil {
		return fmt.Errorf("store credentials of %s: %w", integration, err)
	}
	if stored == 0 {
		return ErrCredentialsChanged
	}
	return nil
}
