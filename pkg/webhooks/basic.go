package webhooks

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strings"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// Basic is HTTP Basic, for senders that sign nothing, such as Postmark. Each secret is "user:password"; one that lacks either is passed over.
// Nothing proves that the body is the sender's: use it over TLS only.
type Basic struct{}

// Verify checks a delivery.
func (Basic) Verify(req *contracts.WebhookRequest, secrets ...string) error {
	complete := make([]string, 0, len(secrets))
	for _, secret := range secrets {
		if user, password, _ := strings.Cut(secret, ":"); user != "" && password != "" {
			complete = append(complete, secret)
		}
	}
	complete, err := usable(complete)
	if err != nil {
		return err
	}
	header, ok := only(req, "Authorization")
	if !ok {
		return ErrMissing
	}
	given, err := parseBasic(header)
	if err != nil {
		return err
	}
	// Hashes have one length, so that the time tells nothing of the password's.
	sum := sha256.Sum256(given)
	matches := 0
	for _, secret := range complete {
		want := sha256.Sum256([]byte(secret))
		matches |= subtle.ConstantTimeCompare(sum[:], want[:])
	}
	if matches == 0 {
		return ErrMismatch
	}
	return nil
}

// parseBasic is "user:password" of an Authorization header.
func parseBasic(header string) ([]byte, error) {
	scheme, encoded, found := strings.Cut(header, " ")
	// The decoder passes over line ends.
	if !found || !strings.EqualFold(scheme, "Basic") || strings.ContainsAny(encoded, "\r\n") {
		return nil, ErrMissing
	}
	given, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return nil, ErrMissing
	}
	return given, nil
}

var _ Verifier = Basic{}
