// Package secret seals credentials at rest: AES-256-GCM under a ring of keys, each with an id that is stored beside what it sealed, so that
// keys can be rotated while the system runs. internal/postgres seals and opens with it.
package secret

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
)

// KeyBytes is the length of a key: AES-256.
const KeyBytes = 32

var (
	// ErrUnknownKey means that the ring lacks the key that a value was sealed with.
	ErrUnknownKey = errors.New("the key ring has no such key")
	// ErrOpen means that a sealed value was changed, moved to another row, or sealed with another key of the same id. It never looks like "no
	// credentials".
	ErrOpen = errors.New("the sealed value can't be opened")
)

// Ring is the keys that open, and the one among them that seals. It is safe for concurrent use.
type Ring struct {
	now  atomic.Pointer[keys]
	from *file
}

// ParseRing reads "id:base64key" entries, separated by commas or new lines. The first one seals; all open. Key ids are short names such as "2026-11"; keys are 32 random
// bytes in standard base64.
func ParseRing(text string) (*Ring, error) { return ParseWrapped(context.Background(), text, nil) }

// ParseWrapped is ParseRing with entries of the form "id:kms:base64", which are keys that a KMS unwraps.
func ParseWrapped(ctx context.Context, text string, kms KMS) (*Ring, error) {
	k, err := parse(ctx, text, kms)
	if err != nil {
		return nil, err
	}
	ring := &Ring{}
	ring.now.Store(k)
	return ring, nil
}

// current are the keys as the ring's file has them now.
func (r *Ring) current() *keys {
	if r.from != nil {
		if k := r.from.changed(); k != nil {
			r.now.Store(k)
		}
	}
	return r.now.Load()
}

// Seal encrypts plain under the primary key. The associated data binds the result to its place: it opens only with the same.
func (r *Ring) Seal(plain, associated []byte) (keyID string, sealed []byte, err error) {
	k := r.current()
	return k.primary, k.aeads[k.primary].Seal(nil, nil, plain, bind(k.primary, associated)), nil
}

// Open decrypts what Seal made. It returns an error wrapping [ErrUnknownKey] or [ErrOpen].
func (r *Ring) Open(keyID string, sealed, associated []byte) ([]byte, error) {
	aead, ok := r.current().aeads[keyID]
	if !ok {
		return nil, fmt.Errorf("%w: %q; add it to the ring, even if it seals no more", ErrUnknownKey, keyID)
	}
	plain, err := aead.Open(nil, nil, sealed, bind(keyID, associated))
	if err != nil {
		return nil, ErrOpen
	}
	return plain, nil
}

// Primary is the id of the key that seals.
func (r *Ring) Primary() string { return r.current().primary }

// IDs are the ids of all keys, the one that seals first.
func (r *Ring) IDs() []string { return slices.Clone(r.current().ids) }

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// bind keeps a value from being opened under another key id than the one it is stored with.
func bind(keyID string, associated []byte) []byte {
	return append([]byte(keyID+"\x00"), associated...)
}
