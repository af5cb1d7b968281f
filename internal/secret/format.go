package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
)

// Place is where a sealed value belongs. It opens nowhere else.
type Place struct {
	// Row identifies the value among all others.
	Row []byte
	// Version is the version of the value, so that an older value can't be put back under a newer version. It is 0 for
	// values that are written once. Keys of the first format do not bind it.
	Version int64
}

// format is a key together with how it seals. The key's id, which is stored beside each value, says which format that
// is.
type format interface {
	seal(plain []byte, keyID string, place Place) ([]byte, error)
	open(sealed []byte, keyID string, place Place) ([]byte, error)
}

const (
	// derivedSuffix ends the ids of keys of the second format.
	derivedSuffix = ".v2"
	saltBytes     = 32
)

func newFormat(id string, key []byte) (format, error) {
	if strings.HasSuffix(id, derivedSuffix) {
		return derived{key}, nil
	}
	aead, err := newAEAD(key)
	return direct{aead}, err
}

// direct is the first format: AES-256-GCM with the key itself and a random nonce of 96 bits. One key may seal 2^32
// values.
type direct struct{ aead cipher.AEAD }

func (d direct) seal(plain []byte, keyID string, place Place) ([]byte, error) {
	return d.aead.Seal(nil, nil, plain, d.bind(keyID, place)), nil
}

func (d direct) open(sealed []byte, keyID string, place Place) ([]byte, error) {
	return d.aead.Open(nil, nil, sealed, d.bind(keyID, place))
}

func (direct) bind(keyID string, place Place) []byte {
	return append([]byte(keyID+"\x00"), place.Row...)
}

// derived is the second format: each value is sealed by AES-256-GCM with a key of its own. HKDF-SHA256 derives that key
// from the ring's key and a random salt of 256 bits, which is stored before the ciphertext. Salts of that length do not
// repeat, so the number of values is not limited.
type derived struct{ key []byte }

func (d derived) seal(plain []byte, keyID string, place Place) ([]byte, error) {
	salt := make([]byte, saltBytes)
	_, _ = rand.Read(salt)
	aead, err := d.derive(salt)
	if err != nil {
		return nil, err
	}
	return aead.Seal(salt, nil, plain, d.bind(keyID, place)), nil
}

func (d derived) open(sealed []byte, keyID string, place Place) ([]byte, error) {
	if len(sealed) < saltBytes {
		return nil, ErrOpen
	}
	aead, err := d.derive(sealed[:saltBytes])
	if err != nil {
		return nil, err
	}
	return aead.Open(nil, nil, sealed[saltBytes:], d.bind(keyID, place))
}

func (d derived) derive(salt []byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, d.key, salt, "tributary seal v2", KeyBytes)
	if err != nil {
		return nil, err
	}
	return newAEAD(key)
}

func (derived) bind(keyID string, place Place) []byte {
	version := binary.BigEndian.AppendUint64(nil, uint64(place.Version))
	return slices.Concat([]byte(keyID+"\x00"), version, place.Row)
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}
