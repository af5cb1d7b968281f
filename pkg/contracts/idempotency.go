package contracts

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// MaxIdempotencyKeyChars is how many characters (not bytes) an idempotency key may have.
	MaxIdempotencyKeyChars = 191
	// DefaultIdempotencyHeader carries the key of a provider that names no header of its own.
	DefaultIdempotencyHeader = "Idempotency-Key"
)

// ErrInvalidIdempotencyKey is wrapped by the error of [WithIdempotencyKey].
var ErrInvalidIdempotencyKey = errors.New("invalid idempotency key")

// IdempotencySupporter marks a provider whose upstream recognises an idempotency key and does the same thing once. The key of a request (see
// [WithIdempotencyKey]) is then sent to the upstream in the header [DefaultIdempotencyHeader], or the one that
// [IdempotencyHeaderNamer] names. Without the mark a key is still stored with the request, a warning is logged, and nothing is sent.
type IdempotencySupporter interface {
	// SupportsIdempotency does nothing; having it is the mark.
	SupportsIdempotency()
}

// IdempotencyHeaderNamer is an [IdempotencySupporter] whose upstream reads the key from a header of another name.
type IdempotencyHeaderNamer interface {
	IdempotencySupporter
	// IdempotencyHeader is the header's name.
	IdempotencyHeader() string
}

type idempotencyKey struct{}

// WithIdempotencyKey returns a context whose requests through [Integration.HTTP] carry the key, the same one in every retry. The key is
// the caller's, and unique within the integration for one intended effect.
//
// The error wraps [ErrInvalidIdempotencyKey] when the key is empty, has more than [MaxIdempotencyKeyChars] characters, or could not travel in a header. It does not
// repeat the key.
func WithIdempotencyKey(ctx context.Context, key string) (context.Context, error) {
	if key == "" {
		return nil, fmt.Errorf("%w: it is empty", ErrInvalidIdempotencyKey)
	}
	if n := utf8.RuneCountInString(key); n > MaxIdempotencyKeyChars {
		return nil, fmt.Errorf("%w: it has %d characters, at most %d are allowed", ErrInvalidIdempotencyKey, n, MaxIdempotencyKeyChars)
	}
	if !utf8.ValidString(key) || strings.ContainsFunc(key, unicode.IsControl) {
		return nil, fmt.Errorf("%w: it has control characters or is not UTF-8", ErrInvalidIdempotencyKey)
	}
	return context.WithValue(ctx, idempotencyKey{}, key), nil
}

// IdempotencyKeyFrom returns the key that requests made with ctx carry, and false when there is none.
func IdempotencyKeyFrom(ctx context.Context) (string, bool) {
	key, ok := ctx.Value(idempotencyKey{}).(string)
	return key, ok
}
