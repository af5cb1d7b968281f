// Package webhooks has ready-made signature checks for [contracts.WebhookHandler]'s VerifyWebhookSignature, on the standard library alone:
//
//	func (Provider) VerifyWebhookSignature(_ context.Context, in *contracts.Integration, req *contracts.WebhookRequest) error {
//		credentials, err := contracts.CredentialsOf[Credentials](in)
//		if err != nil {
//			return err
//		}
//		return webhooks.GitHub().Verify(req, credentials.WebhookSecrets()...)
//	}
//
// All compare in constant time, take several secrets so that one can be rotated, and refuse everything when there is no secret. Where the
// sender signs a timestamp, it must be within the tolerance of the time of reception, before or after; a replay by an operator is
// judged by that time too. What a signature covers is the sender's choice: GitHub's does not cover its delivery id, so that who has recorded
// a delivery of GitHub's can send it again under another id.
package webhooks

import (
	"errors"
	"strconv"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// Tolerance is how far a signed timestamp may be from the time of reception: the five minutes of Stripe, Slack and Standard Webhooks.
const Tolerance = 5 * time.Minute

// The reasons for which a delivery is refused. They say nothing of what would have been right.
var (
	// ErrNoSecret means that the integration has no secret to check with.
	ErrNoSecret = errors.New("there is no webhook secret")
	// ErrMissing means that a header of the scheme is absent or not of its form.
	ErrMissing = errors.New("the signature is missing or malformed")
	// ErrMismatch means that no secret gives the signature.
	ErrMismatch = errors.New("the signature does not match")
	// ErrStale means that the timestamp is too far from the time of reception, as in a replay.
	ErrStale = errors.New("the timestamp is too old or too new")
)

// Verifier checks deliveries against secrets. Any one of the secrets may match; empty ones are passed over.
type Verifier interface {
	Verify(req *contracts.WebhookRequest, secrets ...string) error
}

// Secrets are the fields of credentials whose secret can be rotated without losing a delivery: put the new secret in the one field and the one
// before in the other, until the sender uses the new one. Embed it in a struct of credentials.
type Secrets struct {
	WebhookSecret         string `json:"webhook_secret,omitempty" validate:"omitempty,min=8"`
	WebhookSecretPrevious string `json:"webhook_secret_previous,omitempty" validate:"omitempty,min=8"`
}

// WebhookSecrets are the secrets to verify with.
func (s Secrets) WebhookSecrets() []string { return []string{s.WebhookSecret, s.WebhookSecretPrevious} }

// usable leaves empty secrets out, with which anybody could sign.
func usable(secrets []string) ([]string, error) {
	kept := make([]string, 0, len(secrets))
	for _, secret := range secrets {
		if secret != "" {
			kept = append(kept, secret)
		}
	}
	if len(kept) == 0 {
		return nil, ErrNoSecret
	}
	return kept, nil
}

// parseUnix reads a timestamp in seconds that is written in the one usual way: what is signed is its text, and a second way of writing the
// same second would be a second signature.
func parseUnix(text string) (time.Time, error) {
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil || seconds < 0 || strconv.FormatInt(seconds, 10) != text {
		return time.Time{}, ErrMissing
	}
	return time.Unix(seconds, 0), nil
}

// isFresh reports whether a timestamp is within the tolerance of the reception.
func isFresh(at time.Time, req *contracts.WebhookRequest, tolerance time.Duration) bool {
	return !at.Before(req.ReceivedAt.Add(-tolerance)) && !at.After(req.ReceivedAt.Add(tolerance))
}
