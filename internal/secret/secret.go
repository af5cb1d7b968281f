// Package secret seals credentials at rest: AES-256-GCM under a ring of keys, each with an id that is stored beside what it sealed, so that
// keys can be rotated while the system runs. internal/postgres seals and opens with it.
package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
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
	primary string
	keys    map[string]cipher.AEAD
}

// ParseRing reads "id:base64key" entries, separated by commas or new lines. The first one seals; all open. Key ids are short names such as "2026-11"; keys are 32 random
// bytes in standard base64.
func ParseRing(text string) (*Ring, error) {
	ring := &Ring{keys: map[string]cipher.AEAD{}}
	validID := regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	entries := strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == '\n' || r == '\r' || r == ' ' })
	for i, entry := range entries {
		id, encoded, found := strings.Cut(entry, ":")
		if !found || !validID.MatchString(id) {
			return nil, fmt.Errorf("key %d of the ring is not of the form <id>:<base64 of %d bytes>", i+1, KeyBytes)
		}
		key, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil || len(key) != KeyBytes {
			return nil, fmt.Errorf("key %q is not the base64 of %d bytes; make one with: openssl rand -base64 %d", id, KeyBytes, KeyBytes)
		}
		if ring.keys[id] != nil {
			return nil, fmt.Errorf("key %q is in the ring twice", id)
		}
		if ring.keys[id], err = newAEAD(key); err != nil {
			return nil, fmt.Errorf("use key %q: %w", id, err)
		}
		if i == 0 {
			ring.primary = id
		}
	}
	if ring.primary == "" {
		return nil, fmt.Errorf("the key ring is empty; it needs at least one <id>:<base64 of %d bytes>", KeyBytes)
	}
	return ring, nil
}

// LoadOrCreate reads a ring from a file, and makes one with a single new key where there is no file. It is for one machine: a deployment passes its
// ring in.
func LoadOrCreate(path string) (*Ring, error) {
	text, err := os.ReadFile(path)
	if err == nil {
		return ParseRing(string(text))
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read the key ring: %w", err)
	}
	key := make([]byte, KeyBytes)
	_, _ = rand.Read(key)
	line := "dev:" + base64.StdEncoding.EncodeToString(key) + "\n"
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the key ring: %w", err)
	}
	// Linking a finished file into place means that of two processes that start at once both end up with the same key.
	temporary, err := os.CreateTemp(filepath.Dir(path), ".keys-*")
	if err != nil {
		return nil, fmt.Errorf("write the key ring: %w", err)
	}
	defer func() { _ = os.Remove(temporary.Name()) }()
	if _, err := temporary.WriteString(line); err != nil {
		return nil, fmt.Errorf("write the key ring: %w", err)
	}
	if err := errors.Join(temporary.Sync(), temporary.Close()); err != nil {
		return nil, fmt.Errorf("write the key ring: %w", err)
	}
	if err := os.Link(temporary.Name(), path); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("write the key ring: %w", err)
	}
	if text, err = os.ReadFile(path); err != nil {
		return nil, fmt.Errorf("read the key ring: %w", err)
	}
	return ParseRing(string(text))
}

// Seal encrypts plain under the primary key. The associated data binds the result to its place: it opens only with the same.
func (r *Ring) Seal(plain, associated []byte) (keyID string, sealed []byte, err error) {
	return r.primary, r.keys[r.primary].Seal(nil, nil, plain, bind(r.primary, associated)), nil
}

// Open decrypts what Seal made. It returns an error wrapping [ErrUnknownKey] or [ErrOpen].
func (r *Ring) Open(keyID string, sealed, associated []byte) ([]byte, error) {
	aead, ok := r.keys[keyID]
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
func (r *Ring) Primary() string { return r.primary }

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
