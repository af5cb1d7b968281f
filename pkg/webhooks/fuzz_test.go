package webhooks_test

import (
	"net/http"
	"testing"

	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/webhooks"
)

// fuzzHeaders feeds arbitrary headers to a verifier, which must not panic, and must accept the signed ones alone.
func fuzzHeaders(f *testing.F, s sample, names ...string) {
	f.Helper()
	seed := make([]string, 3)
	for i, name := range names {
		seed[i] = s.header[name]
	}
	f.Add(seed[0], seed[1], seed[2])
	f.Add("", "=,=", "v1,v1")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		req := s.request()
		given := []string{a, b, c}
		signed := true
		for i, name := range names {
			req.Header[http.CanonicalHeaderKey(name)] = []string{given[i]}
			signed = signed && given[i] == s.header[name]
		}
		err := s.verifier.Verify(req, s.secret)
		if signed != (err == nil) && !equivalent(s, req) {
			t.Errorf("%q: %v", given, err)
		}
	})
}

// equivalent reports whether a header is another way of writing the signed one: beside it, other signatures and unknown versions may stand.
func equivalent(s sample, req *contracts.WebhookRequest) bool {
	switch s.name {
	case "Stripe", "Standard":
		// Without the right signature in it, nothing is accepted.
		forged := s.request()
		forged.Header = req.Header
		forged.Body = append(forged.Body, ' ')
		return s.verifier.Verify(forged, s.secret) != nil
	case "Basic":
		return len(req.Header.Get("Authorization")) > 6 && req.Header.Get("Authorization")[5:] == s.header["Authorization"][5:]
	}
	return false
}

func FuzzGitHub(f *testing.F) { fuzzHeaders(f, samples()[0], "X-Hub-Signature-256") }
func FuzzSlack(f *testing.F) {
	fuzzHeaders(f, samples()[1], "X-Slack-Request-Timestamp", "X-Slack-Signature")
}
func FuzzStripe(f *testing.F)  { fuzzHeaders(f, opensslSamples("Stripe"), "Stripe-Signature") }
func FuzzShopify(f *testing.F) { fuzzHeaders(f, opensslSamples("Shopify"), "X-Shopify-Hmac-Sha256") }
func FuzzBasic(f *testing.F)   { fuzzHeaders(f, opensslSamples("Basic"), "Authorization") }

func FuzzStandard(f *testing.F) {
	fuzzHeaders(f, samples()[2], "Webhook-Id", "Webhook-Timestamp", "Webhook-Signature")
}

func FuzzZendesk(f *testing.F) {
	fuzzHeaders(f, opensslSamples("Zendesk"), "X-Zendesk-Webhook-Signature-Timestamp", "X-Zendesk-Webhook-Signature")
}

func FuzzMetaChallenge(f *testing.F) {
	f.Add("hub.mode=subscribe&hub.verify_token=s3cret&hub.challenge=1", "s3cret")
	f.Fuzz(func(t *testing.T, query, token string) {
		req := &contracts.WebhookRequest{Method: http.MethodGet, Query: query}
		if answer, ok, err := webhooks.MetaChallenge(req, token); answer != nil && (!ok || err != nil) {
			t.Errorf("%q: answers %q with %v %v", query, answer, ok, err)
		}
	})
}
