package vendortest_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-github/v84/github"
	"github.com/slack-go/slack"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	stripe "github.com/stripe/stripe-go/v84/webhook"
	svix "github.com/svix/svix-webhooks/go"

	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/webhooks"
)

const rounds = 200

// vendor is one scheme as its vendor signs and verifies it.
type vendor struct {
	ours   webhooks.Verifier
	sign   func(t *testing.T, secret string, body []byte, at time.Time) http.Header
	verify func(secret string, body []byte, header http.Header) error
	// timed says that the time is signed too.
	timed bool
}

func vendors() map[string]vendor {
	return map[string]vendor{
		"stripe-go": {
			ours: webhooks.Stripe{}, timed: true,
			sign: func(_ *testing.T, secret string, body []byte, at time.Time) http.Header {
				signed := stripe.GenerateTestSignedPayload(&stripe.UnsignedPayload{Payload: body, Secret: secret, Timestamp: at})
				return http.Header{"Stripe-Signature": {signed.Header}}
			},
			verify: func(secret string, body []byte, header http.Header) error {
				return stripe.ValidatePayload(body, header.Get("Stripe-Signature"), secret)
			},
		},
		"standard-webhooks": {
			ours: webhooks.Standard{}, timed: true,
			sign: func(t *testing.T, secret string, body []byte, at time.Time) http.Header {
				t.Helper()
				hook, err := standardwebhooks.NewWebhook(secret)
				if err != nil {
					t.Fatal(err)
				}
				signature, err := hook.Sign("msg_1", at, body)
				if err != nil {
					t.Fatal(err)
				}
				return http.Header{"Webhook-Id": {"msg_1"}, "Webhook-Timestamp": {strconv.FormatInt(at.Unix(), 10)}, "Webhook-Signature": {signature}}
			},
			verify: func(secret string, body []byte, header http.Header) error {
				hook, err := standardwebhooks.NewWebhook(secret)
				if err != nil {
					return err
				}
				return hook.Verify(body, header)
			},
		},
		"svix": {
			ours: webhooks.Standard{}, timed: true,
			sign: func(t *testing.T, secret string, body []byte, at time.Time) http.Header {
				t.Helper()
				hook, err := svix.NewWebhook(secret)
				if err != nil {
					t.Fatal(err)
				}
				signature, err := hook.Sign("msg_1", at, body)
				if err != nil {
					t.Fatal(err)
				}
				return http.Header{"Svix-Id": {"msg_1"}, "Svix-Timestamp": {strconv.FormatInt(at.Unix(), 10)}, "Svix-Signature": {signature}}
			},
			verify: func(secret string, body []byte, header http.Header) error {
				hook, err := svix.NewWebhook(secret)
				if err != nil {
					return err
				}
				return hook.Verify(body, header)
			},
		},
		// Neither library signs; what they accept is the formula of the documentation.
		"go-github": {
			ours: webhooks.GitHub(),
			sign: func(_ *testing.T, secret string, body []byte, _ time.Time) http.Header {
				return http.Header{"X-Hub-Signature-256": {"sha256=" + mac(secret, string(body))}}
			},
			verify: func(secret string, body []byte, header http.Header) error {
				return github.ValidateSignature(header.Get("X-Hub-Signature-256"), body, []byte(secret))
			},
		},
		"slack-go": {
			ours: webhooks.Slack(), timed: true,
			sign: func(_ *testing.T, secret string, body []byte, at time.Time) http.Header {
				seconds := strconv.FormatInt(at.Unix(), 10)
				return http.Header{"X-Slack-Request-Timestamp": {seconds}, "X-Slack-Signature": {"v0=" + mac(secret, "v0:"+seconds+":"+string(body))}}
			},
			verify: func(secret string, body []byte, header http.Header) error {
				verifier, err := slack.NewSecretsVerifier(header, secret)
				if err != nil {
					return err
				}
				if _, err := verifier.Write(body); err != nil {
					return err
				}
				return verifier.Ensure()
			},
		},
	}
}

func mac(secret, text string) string {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(text))
	return hex.EncodeToString(h.Sum(nil))
}

// TestVendorsSign wants accepted what the vendor signs, whatever the body, and by the vendor too; and refused, by both, what is changed a little.
func TestVendorsSign(t *testing.T) {
	t.Parallel()
	for name, v := range vendors() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(1, 2))
			for round := range rounds {
				body, secret := make([]byte, random.IntN(2000)), make([]byte, 24)
				for i := range body {
					body[i] = byte(random.Uint32())
				}
				for i := range secret {
					secret[i] = byte(random.Uint32())
				}
				key := "whsec_" + base64.StdEncoding.EncodeToString(secret)
				now := time.Now()
				header := v.sign(t, key, body, now)
				compare(t, v, fmt.Sprintf("round %d, as signed", round), key, body, header, now, true)
				compare(t, v, "a longer body", key, append(bytes.Clone(body), 'x'), header, now, false)
				if len(body) > 0 {
					changed := bytes.Clone(body)
					changed[random.IntN(len(changed))] ^= 1
					compare(t, v, "a changed body", key, changed, header, now, false)
				}
				compare(t, v, "another secret", "whsec_"+base64.StdEncoding.EncodeToString(append(secret, 1)), body, header, now, false)
				if v.timed {
					compare(t, v, "yesterday's", key, body, v.sign(t, key, body, now.Add(-24*time.Hour)), now, false)
				}
			}
		})
	}
}

func compare(t *testing.T, v vendor, what, secret string, body []byte, header http.Header, now time.Time, want bool) {
	t.Helper()
	req := &contracts.WebhookRequest{Method: http.MethodPost, Header: header, Body: body, ReceivedAt: now}
	ours, theirs := v.ours.Verify(req, secret), v.verify(secret, body, header)
	if (ours == nil) != want || (theirs == nil) != want {
		t.Errorf("%s: we say %v, the vendor says %v", what, ours, theirs)
	}
}

// TestVendorsDiffer notes where we are stricter: these are the cases, and the vendor's library still says what is written here.
func TestVendorsDiffer(t *testing.T) {
	t.Parallel()
	body, secret, now := []byte(`{"a":1}`), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", time.Now()
	stripeFuture := vendors()["stripe-go"].sign(t, secret, body, now.Add(10*time.Minute))
	upper := http.Header{"X-Hub-Signature-256": {"sha256=" + fmt.Sprintf("%X", sum(secret, body))}}
	for name, c := range map[string]struct {
		vendor string
		header http.Header
	}{
		"stripe-go takes stamps from the future":  {"stripe-go", stripeFuture},
		"go-github takes upper-case hexadecimals": {"go-github", upper},
	} {
		v := vendors()[c.vendor]
		if err := v.verify(secret, body, c.header); err != nil {
			t.Errorf("%s: it does not any more: %v", name, err)
		}
		req := &contracts.WebhookRequest{Header: c.header, Body: body, ReceivedAt: now}
		if v.ours.Verify(req, secret) == nil {
			t.Errorf("%s, and so do we", name)
		}
	}
}

func sum(secret string, body []byte) []byte {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write(body)
	return h.Sum(nil)
}
