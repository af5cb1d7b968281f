package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/secret"
)

// ErrCredentialsChanged means that somebody else wrote the credentials first.
var ErrCredentialsChanged = errors.New("the credentials were changed by somebody else")

// Access is who touches credentials, why and when. Each is written down, in the statement that touches them: see "Audit" in docs/oauth.md.
type Access struct {
	// Who is a person, or the service that acts by itself.
	Who foreign.Text
	// Why completes "in order to …".
	Why foreign.Text
	At  time.Time
}

// Credentials opens an integration's credentials and returns their version: nil and 0 where there are none. An error from opening wraps the
// secret package's and comes with the version, by which they can be replaced. It never looks like "no credentials".
func (s *Store) Credentials(ctx context.Context, integration uuid.UUID, access Access) (json.RawMessage, int64, error) {
	row, err := s.CredentialsRead(ctx, dbsqlc.CredentialsReadParams{
		IntegrationID: integration, AuditID: NewID(), Who: access.Who, Why: access.Why, Now: access.At,
	})
	if NotFound(err) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read credentials of %s: %w", integration, err)
	}
	plain, err := s.ring.Open(row.KeyID, row.Sealed, credentialsPlace(integration, row.Version))
	if err != nil {
		return nil, row.Version, fmt.Errorf("open credentials of %s, version %d: %w", integration, row.Version, err)
	}
	return plain, row.Version, nil
}

// PutCredentials seals and stores credentials if their version is still the given one, 0 for none, and returns the new version. It returns
// [ErrCredentialsChanged] if it is another.
func (s *Store) PutCredentials(ctx context.Context, tx *Tx, integration uuid.UUID, plain json.RawMessage, version int64, access Access) (int64, error) {
	next := nextCredentialsVersion(version, access.At)
	keyID, sealed, err := s.ring.Seal(plain, credentialsPlace(integration, next))
	if err != nil {
		return 0, fmt.Errorf("seal credentials of %s: %w", integration, err)
	}
	stored, err := tx.CredentialsPut(ctx, dbsqlc.CredentialsPutParams{
		IntegrationID: integration, KeyID: keyID, Sealed: sealed, Version: version, Next: next,
		AuditID: NewID(), Who: access.Who, Why: access.Why, Now: access.At,
	})
	if NotFound(err) {
		return 0, ErrCredentialsChanged
	}
	if err != nil {
		return 0, fmt.Errorf("store credentials of %s: %w", integration, err)
	}
	return stored, nil
}

// credentialsPlace keeps sealed credentials from being read as those of another integration or of another version.
func credentialsPlace(integration uuid.UUID, version int64) secret.Place {
	return secret.Place{Row: integration[:], Version: version}
}

// nextCredentialsVersion is the version that follows one, 0 for none: the same as next_fence in the database gives. It
// is needed before the statement that writes it, because it is sealed with the credentials.
func nextCredentialsVersion(version int64, now time.Time) int64 {
	if version == 0 {
		return 1
	}
	epoch := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	return max(version+1, now.Unix()-epoch.Unix())
}
