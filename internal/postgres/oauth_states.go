package postgres

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/secret"
)

// State is an authorization under way.
type State struct {
	Integration uuid.UUID
	Provider    string
	// Verifier is the PKCE verifier.
	Verifier string
	// By is who asked for it.
	By foreign.Text
	// Link identifies the link that it began with.
	Link []byte
}

// PutState keeps an authorization until it expires, under the state that travels through the browser and the cookie that stays in it. Neither is stored.
func (s *Store) PutState(ctx context.Context, state, browser string, value State, now, expires time.Time) error {
	stateHash, browserHash := sha256.Sum256([]byte(state)), sha256.Sum256([]byte(browser))
	keyID, sealed, err := s.ring.Seal([]byte(value.Verifier), secret.Place{Row: stateHash[:]})
	if err != nil {
		return fmt.Errorf("seal the verifier: %w", err)
	}
	err = s.StateInsert(ctx, dbsqlc.StateInsertParams{
		StateHash: stateHash[:], IntegrationID: value.Integration, Provider: value.Provider, BrowserHash: browserHash[:], KeyID: keyID, Verifier: sealed,
		StartedBy: value.By, LinkHash: value.Link, Now: now, ExpiresAt: expires,
	})
	if err != nil {
		return fmt.Errorf("store the state of an authorization: %w", err)
	}
	return nil
}

// ConsumeState returns an authorization once: false when the state is unknown, used, expired, another browser's or of none of the providers.
func (s *Store) ConsumeState(ctx context.Context, state, browser string, providers []string, now time.Time) (State, bool, error) {
	stateHash, browserHash := sha256.Sum256([]byte(state)), sha256.Sum256([]byte(browser))
	row, err := s.StateConsume(ctx, dbsqlc.StateConsumeParams{StateHash: stateHash[:], BrowserHash: browserHash[:], Providers: providers, Now: now})
	if NotFound(err) {
		return State{}, false, nil
	}
	if err != nil {
		return State{}, false, fmt.Errorf("take the state of an authorization: %w", err)
	}
	verifier, err := s.ring.Open(row.KeyID, row.Verifier, secret.Place{Row: stateHash[:]})
	if err != nil {
		return State{}, false, fmt.Errorf("open the verifier: %w", err)
	}
	return State{Integration: row.IntegrationID, Provider: row.Provider, Verifier: string(verifier), By: row.StartedBy, Link: row.LinkHash}, true, nil
}

// OpenLink gives a link to the browser with a cookie, if no other browser has opened it and its authorization is not done. The
// link is known by its signature, of which it returns the hash.
func (s *Store) OpenLink(ctx context.Context, signature []byte, browser string, expires time.Time) (link []byte, opened bool, err error) {
	linkHash, browserHash := sha256.Sum256(signature), sha256.Sum256([]byte(browser))
	rows, err := s.LinkOpen(ctx, dbsqlc.LinkOpenParams{LinkHash: linkHash[:], BrowserHash: browserHash[:], ExpiresAt: expires})
	if err != nil {
		return nil, false, fmt.Errorf("open a link: %w", err)
	}
	return linkHash[:], rows > 0, nil
}

// SignLink signs what a link allows; VerifyLink reports whether it did.
func (s *Store) SignLink(text string) []byte { return s.ring.Sign("link", []byte(text)) }

// VerifyLink reports whether SignLink made the signature, with any key of the ring.
func (s *Store) VerifyLink(text string, signature []byte) bool {
	return s.ring.Verify("link", []byte(text), signature)
}

// OpenRevocation opens the credentials of a grant whose integration was deleted.
func (s *Store) OpenRevocation(row *dbsqlc.OauthRevocation) ([]byte, error) {
	plain, err := s.ring.Open(row.KeyID, row.Sealed, credentialsPlace(row.IntegrationID, row.Version))
	if err != nil {
		return nil, fmt.Errorf("open credentials of %s, which was deleted: %w", row.IntegrationID, err)
	}
	return plain, nil
}
