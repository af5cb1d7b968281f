package secret

import (
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
)

// KMS opens keys that are stored wrapped: a key management service's Decrypt, bound to whatever it needs. It is asked
// when a ring is read, once for each wrapped key, and never when credentials are.
type KMS interface {
	// Unwrap returns the key of [KeyBytes] bytes that was wrapped under the key id of the ring.
	Unwrap(ctx context.Context, keyID string, wrapped []byte) ([]byte, error)
}

// keys are what a ring's text says.
type keys struct {
	primary string
	ids     []string
	formats map[string]format
	macs    map[string][]byte
}

// wrappedMark stands between the id and the value of a key that a KMS has wrapped.
const wrappedMark = "kms:"

func parse(ctx context.Context, text string, kms KMS) (*keys, error) {
	k := &keys{formats: map[string]format{}, macs: map[string][]byte{}}
	validID := regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}(\.v2)?$`)
	entries := strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == '\n' || r == '\r' || r == ' ' })
	for i, entry := range entries {
		id, encoded, found := strings.Cut(entry, ":")
		if !found || !validID.MatchString(id) {
			return nil, fmt.Errorf("key %d of the ring is not of the form <id>:<base64 of %d bytes>", i+1, KeyBytes)
		}
		if k.formats[id] != nil {
			return nil, fmt.Errorf("key %q is in the ring twice", id)
		}
		key, err := plainKey(ctx, id, encoded, kms)
		if err != nil {
			return nil, err
		}
		if err := k.add(id, key); err != nil {
			return nil, fmt.Errorf("use key %q: %w", id, err)
		}
	}
	if len(k.ids) == 0 {
		return nil, fmt.Errorf("the key ring is empty; it needs at least one <id>:<base64 of %d bytes>", KeyBytes)
	}
	k.primary = k.ids[0]
	return k, nil
}

func plainKey(ctx context.Context, id, encoded string, kms KMS) ([]byte, error) {
	wrapped, isWrapped := strings.CutPrefix(encoded, wrappedMark)
	if !isWrapped {
		key, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil || len(key) != KeyBytes {
			return nil, fmt.Errorf("key %q is not the base64 of %d bytes; make one with: openssl rand -base64 %d", id,
				KeyBytes, KeyBytes)
		}
		return key, nil
	}
	if kms == nil {
		return nil,
			fmt.Errorf("key %q is wrapped by a KMS, and this program has none: see tributary.ParseKeys and app.WithKMS",
				id)
	}
	sealed, err := base64.StdEncoding.DecodeString(wrapped)
	if err != nil {
		return nil, fmt.Errorf("wrapped key %q is not base64", id)
	}
	key, err := kms.Unwrap(ctx, id, sealed)
	if err != nil {
		return nil, fmt.Errorf("unwrap key %q: %w", id, err)
	}
	if len(key) != KeyBytes {
		return nil, fmt.Errorf("key %q has %d bytes once it is unwrapped, it must have %d", id, len(key), KeyBytes)
	}
	return key, nil
}

func (k *keys) add(id string, key []byte) (err error) {
	if k.formats[id], err = newFormat(id, key); err != nil {
		return err
	}
	if k.macs[id], err = hkdf.Key(sha256.New, key, nil, "tributary signatures", sha256.Size); err != nil {
		return err
	}
	k.ids = append(k.ids, id)
	return nil
}

// Sign returns a signature over data that any process with the ring can verify. The purpose keeps a signature from
// counting elsewhere.
func (r *Ring) Sign(purpose string, data []byte) []byte {
	k := r.current()
	return mac(k.macs[k.primary], purpose, data)
}

// Verify reports whether Sign made the signature, under any key of the ring.
func (r *Ring) Verify(purpose string, data, signature []byte) bool {
	for _, key := range r.current().macs {
		if hmac.Equal(mac(key, purpose, data), signature) {
			return true
		}
	}
	return false
}

func mac(key []byte, purpose string, data []byte) []byte {
	h := hmac.New(sha256.New, key)
	_, _ = h.Write([]byte(purpose + "\x00"))
	_, _ = h.Write(data)
	return h.Sum(nil)
}
