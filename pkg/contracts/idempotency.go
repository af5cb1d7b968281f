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
	// ReplayedHeader is in an answer that [Integration.HTTP] returns from its ledger of idempotency keys: the answer to
	// the first request with the key.
	ReplayedHeader = "Tributary-Replayed"
)

// ErrInvalidIdempotencyKey is wrapped by the error of [WithIdempotencyKey].
var ErrInvalidIdempotencyKey = errors.New("invalid idempotency key")

// ErrIdempotencyMismatch is wrapped by the error of a request whose key was used for another request: another method,
// URL or body. It is permanent.
var ErrIdempotencyMismatch = errors.New("the idempotency key was used for another request")

// IdempotencyState is what is known of the request that has an idempotency key.
type IdempotencyState string

// The states in which a key is not free. After a failure that surely had no effect it is.
const (
	// IdempotencyReserved: the request is under way.
	IdempotencyReserved IdempotencyState = "reserved"
	// IdempotencySucceeded: the request was answered.
	IdempotencySucceeded IdempotencyState = "succeeded"
	// IdempotencyUnknown: the request may have had its effect or not. If the upstream recognises keys, the next request
	// with the key is sent to find out; if not, somebody has to look: see `tributary requests resolve`.
	IdempotencyUnknown IdempotencyState = "unknown"
)

// IdempotencyConflictError means that a request was not sent, as an earlier one has its idempotency key, and that the
// answer to that one can't be returned: it is under way (then the error is a deferral), what came of it is unknown, or
// its answer was too large to be kept (then the error is permanent). It does not show the key.
type IdempotencyConflictError struct{ State IdempotencyState }

func (e *IdempotencyConflictError) Error() string {
	switch e.State {
	case IdempotencyReserved:
		return "another request with the idempotency key is under way"
	case IdempotencySucceeded:
		return "a request with the idempotency key has succeeded, but its answer was not kept"
	default:
		return "it is unknown whether a request with the idempotency key had its effect; find out, and tell with: " +
			"tributary requests resolve"
	}
}

// IdempotencySupporter marks a provider whose upstream recognises an idempotency key and does the same thing once. The
// key of a request (see [WithIdempotencyKey]) is then sent to the upstream in the header [DefaultIdempotencyHeader], or
// the one that [IdempotencyHeaderNamer] names. Without the mark a key is still stored with the request, a warning is
// logged, and nothing is sent.
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

// WithIdempotencyKey returns a context whose requests through [Integration.HTTP] carry the key, the same one in every
// retry. The key is the caller's, and unique within the integration for one intended effect: give each request a
// context of its own.
//
// A second request with the key is not sent when the first has succeeded: it gets the first one's answer, marked by
// [ReplayedHeader]. Otherwise it gets an [*IdempotencyConflictError], or [ErrIdempotencyMismatch] if it is another
// request. A failure that surely had no effect frees the key: no connection, a status of 400 to 499, a deferral by
// budget or circuit. Keys are remembered for 90 days.
//
// The ledger is written outside of any transaction of yours. If you keep the outcome in a database, use a key that you
// can form again, such as one of your row's id, and not one made for the call.
//
// The error wraps [ErrInvalidIdempotencyKey] when the key is empty, has more than [MaxIdempotencyKeyChars] characters,
// or could not travel in a header. It does not repeat the key.
func WithIdempotencyKey(ctx context.Context, key string) (context.Context, error) {
	if key == "" {
		return nil, fmt.Errorf("%w: it is empty", ErrInvalidIdempotencyKey)
	}
	if n := utf8.RuneCountInString(key); n > MaxIdempotencyKeyChars {
		return nil, fmt.Errorf("%w: it has %d characters, at most %d are allowed", ErrInvalidIdempotencyKey, n,
			MaxIdempotencyKeyChars)
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
