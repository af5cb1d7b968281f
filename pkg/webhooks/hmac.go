package webhooks

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"net/textproto"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// Encoding is how a signature is written.
type Encoding string

const (
	// Hex is lower-case hexadecimal.
	Hex Encoding = "hex"
	// Base64 is standard base64 with padding.
	Base64 Encoding = "base64"
)

// HMAC is the common scheme: the HMAC of the body in a header, with or without a timestamp. Only Header is needed. [GitHub], [Shopify],
// [Slack] and [Zendesk] are HMACs.
type HMAC struct {
	// Header has the signature.
	Header string
	// Prefix stands before the signature in its header, such as "sha256=".
	Prefix string
	// Encoding is [Hex] by default.
	Encoding Encoding
	// Hash is the hash function, SHA-256 by default.
	Hash func() hash.Hash

	// TimestampHeader has the time of signing. When it is set, what is signed is Before, the timestamp as it was sent, After, and the body.
	TimestampHeader string
	Before, After   string
	// Layout is the timestamp's form as in [time.Parse]; by default it is in seconds since 1970.
	Layout string
	// Tolerance is [Tolerance] by default.
	Tolerance time.Duration
}

// GitHub is the scheme of GitHub, and of Meta: X-Hub-Signature-256. The older X-Hub-Signature, with SHA-1, does not count.
func GitHub() HMAC { return HMAC{Header: "X-Hub-Signature-256", Prefix: "sha256="} }

// Shopify is the scheme of Shopify: X-Shopify-Hmac-Sha256.
func Shopify() HMAC { return HMAC{Header: "X-Shopify-Hmac-Sha256", Encoding: Base64} }

// Slack is version 0 of Slack's scheme: X-Slack-Signature and X-Slack-Request-Timestamp.
func Slack() HMAC {
	return HMAC{Header: "X-Slack-Signature", Prefix: "v0=", TimestampHeader: "X-Slack-Request-Timestamp", Before: "v0:", After: ":"}
}

// Zendesk is the scheme of Zendesk: X-Zendesk-Webhook-Signature and its timestamp.
func Zendesk() HMAC {
	return HMAC{
		Header: "X-Zendesk-Webhook-Signature", Encoding: Base64, TimestampHeader: "X-Zendesk-Webhook-Signature-Timestamp", Layout: time.RFC3339,
	}
}

// Verify checks a delivery.
func (h HMAC) Verify(req *contracts.WebhookRequest, secrets ...string) error {
	secrets, err := usable(secrets)
	if err != nil {
		return err
	}
	given, ok := only(req, h.Header)
	if !ok {
		return ErrMissing
	}
	timestamp := ""
	var at time.Time
	if h.TimestampHeader != "" {
		if timestamp, ok = only(req, h.TimestampHeader); !ok {
			return ErrMissing
		}
		if at, err = h.parse(timestamp); err != nil {
			return err
		}
	}
	matches := false
	for _, secret := range secrets {
		matches = hmac.Equal([]byte(h.sign(secret, timestamp, req.Body)), []byte(given)) || matches
	}
	switch {
	case !matches:
		return ErrMismatch
	case h.TimestampHeader != "" && !isFresh(at, req, cmp.Or(h.Tolerance, Tolerance)):
		return ErrStale
	}
	return nil
}

// sign writes a signature as the header has it. Comparing it as text leaves no second way of writing it.
func (h HMAC) sign(secret, timestamp string, body []byte) string {
	hashed := h.Hash
	if hashed == nil {
		hashed = sha256.New
	}
	mac := hmac.New(hashed, []byte(secret))
	if h.TimestampHeader != "" {
		mac.Write([]byte(h.Before + timestamp + h.After))
	}
	mac.Write(body)
	if h.Encoding == Base64 {
		return h.Prefix + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	return h.Prefix + hex.EncodeToString(mac.Sum(nil))
}

func (h HMAC) parse(timestamp string) (time.Time, error) {
	if h.Layout == "" {
		return parseUnix(timestamp)
	}
	at, err := time.Parse(h.Layout, timestamp)
	if err != nil {
		return time.Time{}, ErrMissing
	}
	return at, nil
}

// only is the value of a header that must be there once: which of two is meant would be anybody's guess.
func only(req *contracts.WebhookRequest, name string) (string, bool) {
	values := req.Header[textproto.CanonicalMIMEHeaderKey(name)]
	if len(values) != 1 || values[0] == "" {
		return "", false
	}
	return values[0], true
}

var _ Verifier = HMAC{}
