package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/secret"
)

// Resealed is what one step of a rotation has done.
type Resealed struct {
	// Sealed is how many values the primary key has sealed anew.
	Sealed int
	// Stuck are the integrations whose values can't be opened: their key is not in the ring, or they were changed.
	Stuck []uuid.UUID
	// Next is where the following step begins; nil when nothing is left.
	Next *uuid.UUID
}

var errRingChanged = errors.New("the key ring changed meanwhile; go on with the new one")

// stale is a value that another key than the primary has sealed, with its version if it has one.
type stale struct {
	id      uuid.UUID
	keyID   string
	sealed  []byte
	version int64
}

// Reseal seals up to most values with the primary key that another one has sealed, in one transaction: those of integrations after a given one. It
// changes nothing of what they say. It can be stopped and repeated at will.
func (s *Store) Reseal(ctx context.Context, after uuid.UUID, most int, access Access) (done Resealed, err error) {
	primary := s.ring.Primary()
	err = s.InTx(ctx, func(tx *Tx) error {
		done = Resealed{}
		credentials, err := tx.CredentialsStale(ctx, dbsqlc.CredentialsStaleParams{KeyID: primary, After: after, Most: int32(most)})
		if err != nil {
			return fmt.Errorf("look for credentials to seal anew: %w", err)
		}
		revocations, err := tx.RevocationStale(ctx, dbsqlc.RevocationStaleParams{KeyID: primary, After: after, Most: int32(most)})
		if err != nil {
			return fmt.Errorf("look for revocations to seal anew: %w", err)
		}
		webhooks, err := tx.WebhookStale(ctx, dbsqlc.WebhookStaleParams{KeyID: primary, After: after, Most: int32(most)})
		if err != nil {
			return fmt.Errorf("look for webhooks to seal anew: %w", err)
		}
		var rows, deleted, arrived []stale
		for _, w := range webhooks {
			arrived = append(arrived, stale{id: w.ID, keyID: w.KeyID, sealed: w.Sealed})
		}
		for _, c := range credentials {
			rows = append(rows, stale{c.IntegrationID, c.KeyID, c.Sealed, c.Version})
		}
		for _, r := range revocations {
			deleted = append(deleted, stale{r.IntegrationID, r.KeyID, r.Sealed, r.Version})
		}
		done.Next = next(most, rows, deleted, arrived)
		return errors.Join(s.resealCredentials(ctx, tx, primary, rows, access, &done), s.resealRevocations(ctx, tx, primary, deleted, &done),
			s.resealWebhooks(ctx, tx, primary, arrived, &done))
	})
	if err == nil && done.Next == nil {
		err = s.resealAnswers(ctx, primary, most, &done)
	}
	return done, err
}

// next is how far all tables are through: the least of the last rows of those that may have more, and nil when none has.
func next(most int, tables ...[]stale) (last *uuid.UUID) {
	for _, rows := range tables {
		if len(rows) < most {
			continue
		}
		if id := rows[len(rows)-1].id; last == nil || bytes.Compare(id[:], last[:]) < 0 {
			last = &id
		}
	}
	return last
}

func (s *Store) resealCredentials(ctx context.Context, tx *Tx, primary string, rows []stale, access Access, done *Resealed) error {
	if len(rows) == 0 {
		return nil
	}
	p := dbsqlc.CredentialsResealParams{KeyID: primary, Who: access.Who, Why: access.Why, Now: access.At}
	err := s.resealEach(rows, primary, done, func(row stale, sealed []byte) {
		p.Ids, p.Versions = append(p.Ids, row.id), append(p.Versions, row.version)
		p.Sealed, p.AuditIds = append(p.Sealed, sealed), append(p.AuditIds, NewID())
	})
	if err != nil {
		return err
	}
	n, err := tx.CredentialsReseal(ctx, p)
	if err != nil {
		return fmt.Errorf("seal credentials anew: %w", err)
	}
	done.Sealed += int(n)
	// There are copies of what is sealed, beside the database.
	if err := tx.IntegrationTell(ctx, p.Ids); err != nil {
		return fmt.Errorf("tell of what is sealed anew: %w", err)
	}
	return nil
}

func (s *Store) resealRevocations(ctx context.Context, tx *Tx, primary string, rows []stale, done *Resealed) error {
	if len(rows) == 0 {
		return nil
	}
	p := dbsqlc.RevocationResealParams{KeyID: primary}
	err := s.resealEach(rows, primary, done, func(row stale, sealed []byte) {
		p.Ids, p.OldKeyIds, p.Sealed = append(p.Ids, row.id), append(p.OldKeyIds, row.keyID), append(p.Sealed, sealed)
	})
	if err != nil {
		return err
	}
	n, err := tx.RevocationReseal(ctx, p)
	if err != nil {
		return fmt.Errorf("seal revocations anew: %w", err)
	}
	done.Sealed += int(n)
	return nil
}

// resealEach opens and seals rows.
func (s *Store) resealEach(rows []stale, primary string, done *Resealed, keep func(row stale, sealed []byte)) error {
	for _, row := range rows {
		place := secret.Place{Row: row.id[:], Version: row.version}
		plain, err := s.ring.Open(row.keyID, row.sealed, place)
		if errors.Is(err, secret.ErrUnknownKey) || errors.Is(err, secret.ErrOpen) {
			done.Stuck = append(done.Stuck, row.id)
			continue
		}
		if err != nil {
			return err
		}
		keyID, sealed, err := s.ring.Seal(plain, place)
		if err != nil {
			return fmt.Errorf("seal anew for %s: %w", row.id, err)
		}
		if keyID != primary {
			return errRingChanged
		}
		keep(row, sealed)
	}
	return nil
}
