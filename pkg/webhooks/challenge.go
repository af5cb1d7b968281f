package webhooks

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// MetaChallenge answers the question by which Meta makes sure of an endpoint: GET with hub.mode=subscribe, the token that was agreed on, and a challenge to be
// sent back. It is for [contracts.WebhookChallenger]; ok is false when the request is no challenge.
func MetaChallenge(req *contracts.WebhookRequest, tokens ...string) (answer []byte, ok bool, err error) {
	query, err := url.ParseQuery(req.Query)
	if req.Method != http.MethodGet || err != nil || query.Get("hub.mode") != "subscribe" {
		return nil, false, nil //nolint:nilerr // what can't be read is no challenge
	}
	tokens, err = usable(tokens)
	if err != nil {
		return nil, true, err
	}
	given := sha256.Sum256([]byte(query.Get("hub.verify_token")))
	matches := 0
	for _, token := range tokens {
		want := sha256.Sum256([]byte(token))
		matches |= subtle.ConstantTimeCompare(given[:], want[:])
	}
	if matches == 0 {
		return nil, true, ErrMismatch
	}
	return []byte(query.Get("hub.challenge")), true, nil
}

// maxChallenge is how many bytes a challenge may have.
const maxChallenge = 4 << 10

// SlackChallenge answers the url_verification by which Slack makes sure of an endpoint: a signed POST whose challenge is to be sent back. It is for
// [contracts.WebhookChallenger]; ok is false when the request is no challenge.
func SlackChallenge(req *contracts.WebhookRequest, secrets ...string) (answer []byte, ok bool, err error) {
	var body struct {
		Type      string `json:"type"`
		Challenge string `json:"challenge"`
	}
	// A challenge is small. A large body is not decoded before its signature is checked.
	if req.Method != http.MethodPost || len(req.Body) > maxChallenge || json.Unmarshal(req.Body, &body) != nil || body.Type != "url_verification" {
		return nil, false, nil //nolint:nilerr // as above
	}
	if err := Slack().Verify(req, secrets...); err != nil {
		return nil, true, err
	}
	return []byte(body.Challenge), true, nil
}
