package webhooks

import (
	"cmp"
	"crypto/hmac"
	"strings"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// Stripe is the scheme of Stripe: "Stripe-Signature: t=<seconds>,v1=<hex>", with more than one v1 while a secret is rotated at Stripe's side.
// Other versions are passed over: v0 is for tests. The secret is that of the endpoint, whsec_… as it is.
type Stripe struct {
	// Tolerance is [Tolerance] by default. Stripe's own libraries let the future pass; this does not beyond the tolerance.
	Tolerance time.Duration
}

const (
	stripeHeader = "Stripe-Signature"
	// maxSignatures bounds the work that a header can ask for; senders put two at most.
	maxSignatures = 16
)

// Verify checks a delivery.
func (s Stripe) Verify(req *contracts.WebhookRequest, secrets ...string) error {
	secrets, err := usable(secrets)
	if err != nil {
		return err
	}
	header, ok := only(req, stripeHeader)
	if !ok {
		return ErrMissing
	}
	timestamp, signatures, err := parseStripe(header)
	if err != nil {
		return err
	}
	at, err := parseUnix(timestamp)
	if err != nil {
		return err
	}
	scheme := HMAC{TimestampHeader: stripeHeader, After: "."}
	matches := false
	for _, secret := range secrets {
		want := []byte(scheme.sign(secret, timestamp, req.Body))
		for _, signature := range signatures {
			matches = hmac.Equal(want, []byte(signature)) || matches
		}
	}
	switch {
	case !matches:
		return ErrMismatch
	case !isFresh(at, req, cmp.Or(s.Tolerance, Tolerance)):
		return ErrStale
	}
	return nil
}

// parseStripe takes the header apart. There is one timestamp and at least one signature.
func parseStripe(header string) (timestamp string, signatures []string, err error) {
	for pair := range strings.SplitSeq(header, ",") {
		name, value, found := strings.Cut(pair, "=")
		if !found {
			return "", nil, ErrMissing
		}
		switch name {
		case "t":
			if timestamp != "" {
				return "", nil, ErrMissing
			}
			timestamp = value
		case "v1":
			signatures = append(signatures, value)
		}
	}
	if timestamp == "" || len(signatures) == 0 || len(signatures) > maxSignatures {
		return "", nil, ErrMissing
	}
	return timestamp, signatures, nil
}

var _ Verifier = Stripe{}
