package webhooks_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/webhooks"
)

// sample is a delivery that is signed as the scheme's own documentation or library signs it.
type sample struct {
	name     string
	verifier webhooks.Verifier
	secret   string
	header   map[string]string
	body     string
	at       int64
}

// samples are the vectors that the vendors publish, and, where they publish none, what the formula of their documentation gives by OpenSSL.
func samples() []sample {
	return []sample{
		{
			// https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries#testing-the-webhook-payload-validation
			name: "GitHub", verifier: webhooks.GitHub(), secret: "It's a Secret to Everybody", body: "Hello, World!", at: 1700000000,
			header: map[string]string{"X-Hub-Signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"},
		},
		{
			// the tests of github.com/slack-go/slack, security_test.go
			name: "Slack", verifier: webhooks.Slack(), secret: "e6b19c573432dcc6b075501d51b51bb8", at: 1531431954,
			body: `{"token":"aF5ynEYQH0dFN9imlgcADxDB","team_id":"XXXXXXXXX","api_app_id":"YYYYYYYYY","event":{"type":"app_mention","user":"AAAAAAAAA",` +
				`"text":"<@EEEEEEEEE> hello world","client_msg_id":"477cc591-ch73-a14z-4db8-g0cd76321bec","ts":"1531431954.000073","channel":"TTTTTTTTT",` +
				`"event_ts":"1531431954.000073"},"type":"event_callback","event_id":"TvBP7LRED7","event_time":1531431954,"authed_users":["EEEEEEEEE"]}`,
			header: map[string]string{
				"X-Slack-Request-Timestamp": "1531431954",
				"X-Slack-Signature":         "v0=adada4ed31709aef585c2580ca3267678c6a8eaeb7e0c1aca3ee57b656886b2c",
			},
		},
		{
			// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md and its libraries' tests
			name: "Standard", verifier: webhooks.Standard{}, secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", at: 1614265330, body: `{"test": 2432232314}`,
			header: map[string]string{
				"Webhook-Id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "Webhook-Timestamp": "1614265330",
				"Webhook-Signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
			},
		},
		{
			name: "Svix", verifier: webhooks.Standard{}, secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", at: 1614265330, body: `{"test": 2432232314}`,
			header: map[string]string{
				"Svix-Id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "Svix-Timestamp": "1614265330",
				"Svix-Signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
			},
		},
		opensslSamples("Stripe"), opensslSamples("Shopify"), opensslSamples("Zendesk"), opensslSamples("Basic"),
	}
}

const openSSLBody = `{"id":"evt_1","type":"charge.succeeded","data":{"amount":"12345","note":"none of this may change"}}`

// opensslSamples were made with: printf %s "$text" | openssl dgst -sha256 -hmac "$secret" (and -binary | base64).
func opensslSamples(name string) sample {
	s := sample{name: name, secret: "whsec_test_secret", body: openSSLBody, at: 1709280000}
	switch name {
	case "Stripe":
		s.verifier = webhooks.Stripe{}
		s.header = map[string]string{"Stripe-Signature": "t=1709280000,v1=4e00eab87fea8c92113f765217e1d35f0379ede2ebd11b6c893dac2e502ae62c"}
	case "Shopify":
		s.verifier = webhooks.Shopify()
		s.header = map[string]string{"X-Shopify-Hmac-Sha256": "Us9s+Kw7iXtm+M8XghCm1/VaNzETsxZgiBOh7Oyxx/s="}
	case "Zendesk":
		s.verifier = webhooks.Zendesk()
		s.header = map[string]string{"X-Zendesk-Webhook-Signature": "Q6gwAKpJOyRyyKhV23yMYwViW38stPGRaZWTnjaZCfo=", "X-Zendesk-Webhook-Signature-Timestamp": "2024-03-01T08:00:00Z"}
	case "Basic":
		s.verifier, s.secret = webhooks.Basic{}, "hook:open sesame"
		s.header = map[string]string{"Authorization": "Basic aG9vazpvcGVuIHNlc2FtZQ=="}
	}
	return s
}

func (s sample) request() *contracts.WebhookRequest {
	req := &contracts.WebhookRequest{Method: http.MethodPost, Header: http.Header{}, Body: []byte(s.body), ReceivedAt: time.Unix(s.at, 0)}
	for name, value := range s.header {
		req.Header.Set(name, value)
	}
	return req
}

func TestVerify(t *testing.T) {
	t.Parallel()
	for _, s := range samples() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			wrong := "c2VjcmV0IG9mIHNvbWVib2R5IGVsc2U="
			if s.name == "Basic" {
				wrong = "hook:wrong"
			}
			for _, c := range []struct {
				name    string
				secrets []string
				want    error
			}{
				{"the secret", []string{s.secret}, nil},
				{"rotated: the secret is the previous one", []string{wrong, s.secret}, nil},
				{"rotated: the secret is the current one", []string{s.secret, wrong}, nil},
				{"no previous one", []string{s.secret, ""}, nil},
				{"another secret", []string{wrong}, webhooks.ErrMismatch},
				{"no secret", nil, webhooks.ErrNoSecret},
				{"an empty secret", []string{"", ""}, webhooks.ErrNoSecret},
			} {
				if err := s.verifier.Verify(s.request(), c.secrets...); !errors.Is(err, c.want) {
					t.Errorf("%s: error %v, want %v", c.name, err, c.want)
				}
			}
			for name := range s.header {
				req := s.request()
				req.Header.Del(name)
				if err := s.verifier.Verify(req, s.secret); !errors.Is(err, webhooks.ErrMissing) {
					t.Errorf("without %s: error %v, want %v", name, err, webhooks.ErrMissing)
				}
			}
		})
	}
}

func TestTolerance(t *testing.T) {
	t.Parallel()
	for _, s := range samples() {
		if s.name == "GitHub" || s.name == "Shopify" || s.name == "Basic" {
			continue // no timestamp is signed
		}
		for offset, want := range map[time.Duration]error{
			0: nil, 5 * time.Minute: nil, -5 * time.Minute: nil, 301 * time.Second: webhooks.ErrStale, -301 * time.Second: webhooks.ErrStale, 24 * time.Hour: webhooks.ErrStale,
		} {
			req := s.request()
			req.ReceivedAt = req.ReceivedAt.Add(offset)
			if err := s.verifier.Verify(req, s.secret); !errors.Is(err, want) {
				t.Errorf("%s received %s after its timestamp: error %v, want %v", s.name, offset, err, want)
			}
		}
	}
}

func TestStripeSeveralSignatures(t *testing.T) {
	t.Parallel()
	s := opensslSamples("Stripe")
	right := strings.TrimPrefix(s.header["Stripe-Signature"], "t=1709280000,")
	for header, want := range map[string]error{
		"t=1709280000,v1=00ff," + right:                           nil,
		"t=1709280000," + right + ",v1=00ff":                      nil,
		right + ",t=1709280000":                                   nil,
		"t=1709280000,v0=00," + right:                             nil,
		"t=1709280000," + strings.Replace(right, "v1", "v0", 1):   webhooks.ErrMissing,
		"t=1709280001," + right:                                   webhooks.ErrMismatch,
		"t=1709280000,t=1709280001," + right:                      webhooks.ErrMissing,
		"t=01709280000," + right:                                  webhooks.ErrMissing,
		"t=+1709280000," + right:                                  webhooks.ErrMissing,
		"t=," + right:                                             webhooks.ErrMissing,
		"t=1709280000":                                            webhooks.ErrMissing,
		"t=1709280000," + right + ",":                             webhooks.ErrMissing,
		"t=1709280000," + strings.Repeat(right+",", 16) + "v1=00": webhooks.ErrMissing,
		right: webhooks.ErrMissing,
	} {
		req := s.request()
		req.Header.Set("Stripe-Signature", header)
		if err := s.verifier.Verify(req, s.secret); !errors.Is(err, want) {
			t.Errorf("%q: error %v, want %v", header, err, want)
		}
	}
}

// TestForgeries mutates signed deliveries in every way that a forger might, and wants none accepted.
func TestForgeries(t *testing.T) {
	t.Parallel()
	tried := 0
	for _, s := range samples() {
		original := s.request()
		refuse := func(what string, mutate func(req *contracts.WebhookRequest)) {
			t.Helper()
			req := s.request()
			mutate(req)
			if fmt.Sprint(req) == fmt.Sprint(original) {
				t.Errorf("%s: %s changes nothing", s.name, what)
			}
			tried++
			if s.verifier.Verify(req, s.secret) == nil {
				t.Errorf("%s: accepted with %s", s.name, what)
			}
		}
		for name, value := range s.header {
			forgeHeader(s, name, value, refuse)
		}
		if s.name != "Basic" { // which signs no body
			forgeBody(s, refuse)
		}
		if s.name == "Basic" || s.name == "GitHub" || s.name == "Shopify" {
			continue
		}
		for seconds := int64(301); seconds < 301+200; seconds++ {
			for _, offset := range []int64{seconds, -seconds, seconds * seconds} {
				refuse("a replay after "+strconv.FormatInt(offset, 10)+" s", func(req *contracts.WebhookRequest) {
					req.ReceivedAt = req.ReceivedAt.Add(time.Duration(offset) * time.Second)
				})
			}
		}
	}
	if tried < 10_000 {
		t.Errorf("only %d forgeries were tried, want 10,000 at least", tried)
	}
	t.Logf("%d forgeries", tried)
}

func forgeHeader(s sample, name, value string, refuse func(string, func(*contracts.WebhookRequest))) {
	set := func(what, to string) {
		if to == value || s.name == "Basic" && strings.EqualFold(to[:min(len(to), 6)], "Basic ") && to[6:] == value[6:] {
			return
		}
		refuse(name+": "+what, func(req *contracts.WebhookRequest) { req.Header[http.CanonicalHeaderKey(name)] = []string{to} })
	}
	for i := range len(value) {
		set(fmt.Sprintf("without byte %d", i), value[:i]+value[i+1:])
		set(fmt.Sprintf("byte %d twice", i), value[:i]+value[i:i+1]+value[i:])
		set(fmt.Sprintf("the case of byte %d", i), value[:i]+flipCase(value[i])+value[i+1:])
		for bit := range 8 {
			set(fmt.Sprintf("bit %d of byte %d", bit, i), value[:i]+string([]byte{value[i] ^ 1<<bit})+value[i+1:])
		}
		set(fmt.Sprintf("cut at %d", i), value[:i])
	}
	set("upper case", strings.ToUpper(value))
	set("base64url", strings.NewReplacer("+", "-", "/", "_").Replace(value))
	set("without padding", strings.TrimRight(value, "="))
	set("base64 of it", base64.StdEncoding.EncodeToString([]byte(value)))
	for _, extra := range []string{" ", "\t", "\n", "\x00", "=", "0", ";"} {
		set("before it "+strconv.Quote(extra), extra+value)
		set("after it "+strconv.Quote(extra), value+extra)
	}
	refuse(name+" twice", func(req *contracts.WebhookRequest) { req.Header.Add(name, value) })
	refuse(name+" beside another", func(req *contracts.WebhookRequest) { req.Header.Add(name, "0") })
	refuse(name+" under another name", func(req *contracts.WebhookRequest) {
		req.Header = http.Header{"X-" + name: {value}}
	})
	refuse(name+" not canonical", func(req *contracts.WebhookRequest) {
		delete(req.Header, http.CanonicalHeaderKey(name))
		req.Header[strings.ToLower(name)] = []string{value}
	})
}

func forgeBody(s sample, refuse func(string, func(*contracts.WebhookRequest))) {
	for i := range len(s.body) {
		for bit := range 8 {
			refuse(fmt.Sprintf("bit %d of byte %d of the body", bit, i), func(req *contracts.WebhookRequest) { req.Body[i] ^= 1 << bit })
		}
		refuse(fmt.Sprintf("a body cut at %d", i), func(req *contracts.WebhookRequest) { req.Body = req.Body[:i] })
		refuse(fmt.Sprintf("a byte inserted at %d", i), func(req *contracts.WebhookRequest) {
			req.Body = []byte(s.body[:i] + " " + s.body[i:])
		})
	}
	refuse("a line feed after the body", func(req *contracts.WebhookRequest) { req.Body = append(req.Body, '\n') })
	refuse("a byte order mark", func(req *contracts.WebhookRequest) { req.Body = []byte("\ufeff" + s.body) })
	refuse("UTF-16", func(req *contracts.WebhookRequest) {
		req.Body = []byte(strings.Join(strings.Split(s.body, ""), "\x00"))
	})
}

func flipCase(b byte) string {
	if upper := strings.ToUpper(string([]byte{b})); upper != string([]byte{b}) {
		return upper
	}
	return strings.ToLower(string([]byte{b}))
}

func TestChallenges(t *testing.T) {
	t.Parallel()
	meta := func(query string) *contracts.WebhookRequest {
		return &contracts.WebhookRequest{Method: http.MethodGet, Query: query}
	}
	for _, c := range []struct {
		query, answer string
		ok            bool
		err           error
	}{
		{"hub.mode=subscribe&hub.verify_token=s3cret&hub.challenge=1158201444", "1158201444", true, nil},
		{"hub.mode=subscribe&hub.verify_token=guess&hub.challenge=1", "", true, webhooks.ErrMismatch},
		{"hub.mode=subscribe&hub.challenge=1", "", true, webhooks.ErrMismatch},
		{"hub.mode=unsubscribe&hub.verify_token=s3cret", "", false, nil},
		{"", "", false, nil},
	} {
		answer, ok, err := webhooks.MetaChallenge(meta(c.query), "s3cret")
		if string(answer) != c.answer || ok != c.ok || !errors.Is(err, c.err) {
			t.Errorf("Meta %q: %q %v %v, want %q %v %v", c.query, answer, ok, err, c.answer, c.ok, c.err)
		}
	}
	if _, ok, err := webhooks.MetaChallenge(meta("hub.mode=subscribe&hub.verify_token=&hub.challenge=1"), ""); !ok || !errors.Is(err, webhooks.ErrNoSecret) {
		t.Errorf("Meta without a token: %v %v, want a refusal", ok, err)
	}
	if _, ok, err := webhooks.SlackChallenge(samples()[1].request(), samples()[1].secret); ok || err != nil {
		t.Errorf("a delivery of Slack's is taken for a challenge: %v %v", ok, err)
	}
	unsigned := &contracts.WebhookRequest{Method: http.MethodPost, Body: []byte(`{"type":"url_verification","challenge":"abc"}`), Header: http.Header{}}
	if answer, ok, err := webhooks.SlackChallenge(unsigned, "secret"); !ok || err == nil || answer != nil {
		t.Errorf("an unsigned challenge is answered with %q %v %v", answer, ok, err)
	}
	large := &contracts.WebhookRequest{Method: http.MethodPost, Body: append([]byte(`{"type":"url_verification"}`), bytes.Repeat([]byte(" "), 4<<10)...)}
	if _, ok, err := webhooks.SlackChallenge(large, "secret"); ok || err != nil {
		t.Errorf("a large body: %t %v", ok, err)
	}
}
