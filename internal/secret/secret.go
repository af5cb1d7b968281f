// Package secret seals credentials at rest: AES-256-GCM under a ring of keys, each with an id that is stored beside
// what it sealed, so that keys can be rotated while the system runs. The id also says in which of two formats the key
// seals. internal/postgres seals and opens with it.
package secret

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// KeyBytes is the length of a key: AES-256.
const KeyBytes = 32

var (
	// ErrUnknownKey means that the ring lacks the key that a value was sealed with.
	ErrUnknownKey = errors.New("the key ring has no such key")
	// ErrOpen means that a sealed value was changed, moved to another row, put under another version, or sealed with
	// another key of the same id. It never looks like "no credentials".
	ErrOpen = errors.New("the sealed value can't be opened: it was changed, is of another row or version, or was sealed with another key of the same id")
)

// Ring is the keys that open, and the one among them that seals. It is safe for concurrent use.
type Ring struct {
	now   atomic.Pointer[keys]
	from  *file
	seals *prometheus.CounterVec
}

func newRing(from *file, k *keys) *Ring {
	ring := &Ring{from: from, seals: prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "tributary", Subsystem: "secret", Name: "seals_total", Help: "Values that this process has sealed, by the id of the key.",
	}, []string{"key"})}
	ring.now.Store(k)
	return ring
}

// Register registers the metric of the ring: how many values each key has sealed in this process.
func (r *Ring) Register(registerer prometheus.Registerer) error {
	if err := registerer.Register(r.seals); err != nil {
		return fmt.Errorf("register the metric of sealed values: %w", err)
	}
	return nil
}

// ParseRing reads "id:base64key" entries, separated by commas or new lines. The first one seals; all open. Key ids are
// short names such as "2026-11"; keys are 32 random bytes in standard base64. A key whose id ends with ".v2" seals in
// the second format, which has no limit on the number of values and binds their versions.
func ParseRing(text string) (*Ring, error) { return ParseWrapped(context.Background(), text, nil) }

// ParseWrapped is ParseRing with entries of the form "id:kms:base64", which are keys that a KMS unwraps.
func ParseWrapped(ctx context.Context, text string, kms KMS) (*Ring, error) {
	k, err := parse(ctx, text, kms)
	if err != nil {
		return nil, err
	}
	return newRing(nil, k), nil
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

// Seal encrypts plain under the primary key. The result opens only in the same place.
func (r *Ring) Seal(plain []byte, place Place) (keyID string, sealed []byte, err error) {
	k := r.current()
	if sealed, err = k.formats[k.primary].seal(plain, k.primary, place); err != nil {
		return "", nil, fmt.Errorf("seal with key %q: %w", k.primary, err)
	}
	r.seals.WithLabelValues(k.primary).Inc()
	return k.primary, sealed, nil
}

// Open decrypts what Seal made. It returns an error wrapping [ErrUnknownKey] or [ErrOpen].
func (r *Ring) Open(keyID string, sealed []byte, place Place) ([]byte, error) {
	key, ok := r.current().formats[keyID]
	if !ok {
		return nil, fmt.Errorf("%w: %q; add it to the ring, even if it seals no more", ErrUnknownKey, keyID)
	}
	plain, err := key.open(sealed, keyID, place)
	if err != nil {
		return nil, ErrOpen
	}
	return plain, nil
}

// Primary is the id of the key that seals.
func (r *Ring) Primary() string { return r.current().primary }

// IDs are the ids of all keys, the one that seals first.
func (r *Ring) IDs() []string { return slices.Clone(r.current().ids) }
