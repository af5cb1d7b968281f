package postgres

import (
	"fmt"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/secret"
)

// SealToken seals an integration's token for a place outside of the database.
func (s *Store) SealToken(integration uuid.UUID, plain []byte) (keyID string, sealed []byte, err error) {
	keyID, sealed, err = s.ring.Seal(plain, tokenPlace(integration))
	if err != nil {
		return "", nil, fmt.Errorf("seal a token of %s: %w", integration, err)
	}
	return keyID, sealed, nil
}

// OpenToken opens what [Store.SealToken] has sealed.
func (s *Store) OpenToken(integration uuid.UUID, keyID string, sealed []byte) ([]byte, error) {
	plain, err := s.ring.Open(keyID, sealed, tokenPlace(integration))
	if err != nil {
		return nil, fmt.Errorf("open a token of %s: %w", integration, err)
	}
	return plain, nil
}

// tokenPlace keeps a sealed token from being read as that of another integration, or as other credentials.
func tokenPlace(integration uuid.UUID) secret.Place {
	return secret.Place{Row: append([]byte("token\x00"), integration[:]...)}
}
