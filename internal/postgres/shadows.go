package postgres

import (
	"fmt"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/secret"
)

// SealToken seals an integration's token, of a version of its credentials, for a place outside of the database.
func (s *Store) SealToken(integration uuid.UUID, version int64, plain []byte) (keyID string, sealed []byte, err error) {
	keyID, sealed, err = s.ring.Seal(plain, tokenPlace(integration, version))
	if err != nil {
		return "", nil, fmt.Errorf("seal a token of %s: %w", integration, err)
	}
	return keyID, sealed, nil
}

// OpenToken opens what [Store.SealToken] has sealed.
func (s *Store) OpenToken(integration uuid.UUID, version int64, keyID string, sealed []byte) ([]byte, error) {
	plain, err := s.ring.Open(keyID, sealed, tokenPlace(integration, version))
	if err != nil {
		return nil, fmt.Errorf("open a token of %s: %w", integration, err)
	}
	return plain, nil
}

// tokenPlace keeps a sealed token from being read as that of another integration or version, or as other credentials.
func tokenPlace(integration uuid.UUID, version int64) secret.Place {
	return secret.Place{Row: append([]byte("token\x00"), integration[:]...), Version: version}
}
