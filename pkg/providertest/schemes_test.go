package providertest_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/providertest"
	"github.com/tributaryhq/tributary/pkg/webhooks"
)

// pusher is a provider whose upstream only pushes.
type pusher struct {
	contracts.NoMetadata
	contracts.TypedCredentials[webhooks.Secrets]
	contracts.WebhookDefaults
	verifier webhooks.Verifier
}

func (pusher) Name() string { return "Pusher" }

func (p pusher) VerifyWebhookSignature(_ context.Context, in *contracts.Integration, req *contracts.WebhookRequest) error {
	credentials, err := contracts.CredentialsOf[webhooks.Secrets](in)
	if err != nil {
		return err
	}
	return p.verifier.Verify(req, credentials.WebhookSecrets()...)
}

func (pusher) HandleWebhook(_ context.Context, _ *contracts.Integration, req *contracts.WebhookRequest) (any, error) {
	var body struct{ Text string }
	if err := json.Unmarshal(req.Body, &body); err != nil {
		return nil, contracts.Permanent(err)
	}
	return body, nil
}

// signed is a way in which senders sign, and how the headers of a delivery are made in it.
type signed struct {
	verifier webhooks.Verifier
	secret   string
	header   func(body, unix string, at time.Time) http.Header
	query    string
}

func schemes(tolerance time.Duration) map[string]signed {
	const secret, encoded = "a-secret-of-the-webhook", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	sum := func(key, text string) []byte {
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write([]byte(text))
		return mac.Sum(nil)
	}
	inHex := func(text string) string { return hex.EncodeToString(sum(secret, text)) }
	inBase64 := func(key, text string) string { return base64.StdEncoding.EncodeToString(sum(key, text)) }
	key, _ := base64.StdEncoding.DecodeString(encoded)
	slack, zendesk := webhooks.Slack(), webhooks.Zendesk()
	slack.Tolerance, zendesk.Tolerance = tolerance, tolerance
	return map[string]signed{
		"github": {verifier: webhooks.GitHub(), secret: secret, header: func(body, _ string, _ time.Time) http.Header {
			return http.Header{"X-Hub-Signature-256": {"sha256=" + inHex(body)}}
		}},
		"shopify": {verifier: webhooks.Shopify(), secret: secret, header: func(body, _ string, at time.Time) http.Header {
			return http.Header{"X-Shopify-Hmac-Sha256": {inBase64(secret, body)}, "X-Shopify-Triggered-At": {at.Format(time.RFC3339)}}
		}},
		"slack": {verifier: slack, secret: secret, header: func(body, unix string, _ time.Time) http.Header {
			return http.Header{"X-Slack-Request-Timestamp": {unix}, "X-Slack-Signature": {"v0=" + inHex("v0:"+unix+":"+body)}}
		}},
		"zendesk": {verifier: zendesk, secret: secret, header: func(body, _ string, at time.Time) http.Header {
			stamp := at.Format(time.RFC3339)
			return http.Header{"X-Zendesk-Webhook-Signature-Timestamp": {stamp}, "X-Zendesk-Webhook-Signature": {inBase64(secret, stamp+body)}}
		}},
		"stripe": {verifier: webhooks.Stripe{Tolerance: tolerance}, secret: secret, header: func(body, unix string, _ time.Time) http.Header {
			return http.Header{"Stripe-Signature": {"t=" + unix + ",v1=" + inHex(unix+"."+body)}}
		}},
		"standard": {verifier: webhooks.Standard{Tolerance: tolerance}, secret: "whsec_" + encoded, header: func(body, unix string, _ time.Time) http.Header {
			return http.Header{"Webhook-Id": {"msg_1"}, "Webhook-Timestamp": {unix}, "Webhook-Signature": {"v1," + inBase64(string(key), "msg_1."+unix+"."+body)}}
		}},
		"address": {verifier: inAddress{}, secret: secret, query: "token=" + secret, header: func(string, string, time.Time) http.Header { return http.Header{} }},
		"basic": {verifier: webhooks.Basic{}, secret: "user:a-password", header: func(string, string, time.Time) http.Header {
			return http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte("user:a-password"))}}
		}},
	}
}

// suite is that of a provider whose upstream signs so.
func (s signed) suite() providertest.Suite {
	return providertest.Suite{
		Provider: pusher{verifier: s.verifier}, Key: "pusher", Credentials: webhooks.Secrets{WebhookSecret: s.secret},
		Webhook: func(testing.TB) *contracts.WebhookRequest {
			at := time.Date(2024, 2, 1, 0, 0, 0, 0, time.UTC)
			body := `{"text":"changed"}`
			return &contracts.WebhookRequest{
				Method: http.MethodPost, Path: "/", Query: s.query, Body: []byte(body), ReceivedAt: at, Header: s.header(body, strconv.FormatInt(at.Unix(), 10), at),
			}
		},
	}
}

// TestSchemes has the ready-made verifiers pass.
func TestSchemes(t *testing.T) {
	t.Parallel()
	for name, scheme := range schemes(0) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			providertest.Run(t, scheme.suite())
		})
	}
}

// careless is a way of verifying which a flaw is named after.
func careless(flaw string) (signed, bool) {
	const days = 48 * time.Hour
	lax := schemes(days)
	byFlaw := map[string]signed{
		"slack: a tolerance of days": lax["slack"], "zendesk: a tolerance of days": lax["zendesk"],
		"stripe: a tolerance of days": lax["stripe"], "standard: a tolerance of days": lax["standard"],
	}
	for name, as := range map[string]string{"basic: any password": "basic", "standard: an empty key": "standard", "address: any token": "address"} {
		scheme := lax[as]
		scheme.verifier = anyKey{scheme.verifier, as}
		byFlaw[name] = scheme
	}
	scheme, ok := byFlaw[flaw]
	return scheme, ok
}

// inAddress wants the secret as a parameter of the address.
type inAddress struct{}

func (inAddress) Verify(req *contracts.WebhookRequest, secrets ...string) error {
	query, err := url.ParseQuery(req.Query)
	if token := query.Get("token"); err != nil || token == "" || !slices.Contains(secrets, token) {
		return errors.New("the token is wrong")
	}
	return nil
}

// anyKey accepts what a verifier would refuse, in one respect.
type anyKey struct {
	webhooks.Verifier
	scheme string
}

func (a anyKey) Verify(req *contracts.WebhookRequest, secrets ...string) error {
	header := req.Header.Get("Authorization")
	switch {
	case a.scheme == "basic" && header != "" && secrets[0] == "user:a-password":
		return nil
	case a.scheme == "address" && req.Query != "" && secrets[0] != "":
		return nil
	case a.scheme == "standard" && secrets[0] == "":
		mac := hmac.New(sha256.New, nil)
		mac.Write([]byte(req.Header.Get("Webhook-Id") + "." + req.Header.Get("Webhook-Timestamp") + "." + string(req.Body)))
		if req.Header.Get("Webhook-Signature") == "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)) {
			return nil
		}
	}
	return a.Verifier.Verify(req, secrets...)
}
