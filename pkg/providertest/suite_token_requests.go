package providertest

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/internal/outbound"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// sent is a request to the authorization server.
type sent struct {
	address, body string
	header        http.Header
}

// fields are those of the body, a form or a JSON object.
func (s sent) fields() url.Values {
	var object map[string]any
	if json.Unmarshal([]byte(s.body), &object) != nil {
		form, _ := url.ParseQuery(s.body) // what is no form has no fields
		return form
	}
	fields := url.Values{}
	for name, value := range object {
		fields.Set(name, fmt.Sprint(value))
	}
	return fields
}

func (s sent) text() string { return fmt.Sprint(s.address, " ", s.body, " ", s.header) }

func timesSent(requests []sent, text string) (n int) {
	for _, request := range requests {
		n += strings.Count(request.text(), text)
	}
	return n
}

// tokenRequest is the one that has the code or the refresh token.
func tokenRequest(requests []sent) (sent, bool) {
	for _, request := range requests {
		if strings.Contains(request.body, grantedCode) || strings.Contains(request.body, storedRefresh) {
			return request, true
		}
	}
	return sent{}, false
}

// ask calls a method of a flow, which asks the suite. Addresses are kept by every server on their way: they may hold no secrets.
func (f *flow) ask(t *testing.T, method string, answer *answerer, call grant) (contracts.Token, []sent, error) {
	t.Helper()
	return f.askWith(t, method, storedRefresh, answer, call)
}

// askWith is ask for an integration with another refresh token, or none.
func (f *flow) askWith(t *testing.T, method, refresh string, answer *answerer, call grant) (token contracts.Token, requests []sent, err error) {
	t.Helper()
	var mu sync.Mutex
	in, log := f.authorized(t, refresh, transportFunc(func(req *http.Request) (*http.Response, error) {
		request := sent{address: req.URL.String(), header: req.Header}
		if req.Body != nil {
			body, err := io.ReadAll(req.Body)
			if err != nil {
				return nil, err
			}
			request.body = string(body)
			_ = req.Body.Close()
		}
		mu.Lock()
		requests = append(requests, request)
		mu.Unlock()
		return answer.RoundTrip(req)
	}))
	err = f.guarded(t, method, func() (err error) {
		token, err = call(contracts.WithPKCEVerifier(f.context(t), grantVerifier), in)
		return err
	})
	for _, request := range requests {
		f.noSecret(t, "the address that "+method+" sends its request to", withoutID(t, request.address, f.Credentials))
		if method != methodRevoke && (strings.Contains(request.address, storedRefresh) || strings.Contains(request.address, grantedCode)) {
			t.Errorf("%s has the refresh token or the code in the address of its request, which every server on the way keeps", method)
		}
	}
	f.checkError(t, err)
	if err != nil {
		noGrant(t, "an error of "+method, err.Error())
	}
	noGrant(t, "what "+method+" logs", log.String())
	f.noSecret(t, "what "+method+" logs", log.String())
	return token, requests, err
}

// authorized is the fixture's integration with tokens, over a client that, as in production, adds nothing to the requests of a flow.
func (k *kit) authorized(t *testing.T, refresh string, transport http.RoundTripper) (*contracts.Integration, *logBuffer) {
	t.Helper()
	credentials := map[string]any{}
	if raw := encode(t, k.Credentials); raw != nil {
		if err := json.Unmarshal(raw, &credentials); err != nil {
			t.Fatal(err)
		}
	}
	credentials["access_token"], credentials["token_expires_at"] = storedAccess, time.Now()
	credentials["refresh_token"] = refresh
	if refresh == "" {
		delete(credentials, "refresh_token")
	}
	log := &logBuffer{}
	return contracts.NewIntegration(contracts.IntegrationFields{
		ID: "01930000-0000-7000-8000-000000000001", Provider: k.Key, Name: "test", Owner: "tester",
		Credentials: encode(t, credentials), Metadata: encode(t, k.Metadata), Client: &http.Client{Transport: transport}, Mappings: NewMappings(),
		Log: slog.New(slog.NewTextHandler(log, nil)),
	}), log
}

// form checks a token request as RFC 6749 has it. A flow of an upstream with answers of its own may have requests of its own, too.
func (f *flow) form(t *testing.T, method string, requests []sent, want map[string]string) {
	t.Helper()
	request, ok := tokenRequest(requests)
	if !ok || f.TokenAnswer != nil {
		return
	}
	fields := request.fields()
	for name, value := range want {
		if got := fields.Get(name); got != value {
			t.Errorf("%s sends the %s %q in its request for a token, want %q", method, name, got, value)
		}
	}
	kind := "application/x-www-form-urlencoded"
	if json.Valid([]byte(request.body)) {
		kind = "application/json"
	}
	if got := request.header.Get("Content-Type"); !strings.HasPrefix(got, kind) {
		t.Errorf("%s sends its request for a token with the Content-Type %q, want %q: the upstream would not read it", method, got, kind)
	}
	if request.header.Get("Authorization") == "" && !fields.Has("client_id") && !fields.Has("client_assertion") {
		t.Errorf("%s does not say which client asks for a token: send the client's id and secret by SetBasicAuth, or as client_id and client_secret", method)
	}
}

// verifier checks that the code is exchanged with the verifier where the authorization address has its challenge, and only there.
func (f *flow) verifier(t *testing.T, requests []sent) {
	t.Helper()
	in, _ := f.authorized(t, storedRefresh, answering(http.StatusInternalServerError, ""))
	address, err := f.provider.AuthorizationURL(contracts.WithPKCEVerifier(f.context(t), grantVerifier), in, grantRedirect, "state")
	u, wrong := url.Parse(address)
	request, ok := tokenRequest(requests)
	if err != nil || wrong != nil || !ok {
		return // oauth has said so
	}
	challenged, verifier := u.Query().Has("code_challenge"), request.fields().Get("code_verifier")
	switch {
	case challenged && verifier != grantVerifier:
		t.Error("the authorization address has a code_challenge, but ExchangeCode does not send the code_verifier of its context: the upstream refuses the code")
	case !challenged && verifier != "":
		t.Error("ExchangeCode sends a code_verifier, but the authorization address has no code_challenge: the upstream refuses the code, or does not protect it")
	}
}

// flowHosts has the hosts of a flow take the place of those of a provider's requests.
type flowHosts struct {
	contracts.Provider
	contracts.OAuth2HostNamer
}

// CredentialHosts are the hosts of the flow.
func (h flowHosts) CredentialHosts(in *contracts.Integration) ([]string, error) {
	return h.OAuth2Hosts(in)
}

// named checks that the hosts which get the secrets of a flow are those that the provider names.
func (f *flow) named(t *testing.T, method string, requests []sent) {
	t.Helper()
	namer, ok := f.provider.(contracts.OAuth2HostNamer)
	if !ok {
		return
	}
	in, _ := f.authorized(t, storedRefresh, nil)
	hosts, err := outbound.CredentialHosts(flowHosts{f.Provider, namer}, in)
	if err != nil {
		t.Errorf("OAuth2Hosts: %v", err)
		return
	}
	for _, request := range requests {
		if u, err := url.Parse(request.address); err == nil && (!hosts.Named || !hosts.Cover(u)) {
			t.Errorf("%s sends its secrets to %s, which is not among the hosts that OAuth2Hosts names: name it there", method, u.Host)
		}
	}
}

// withoutID is an address without the client's id, which is no secret.
func withoutID(t *testing.T, address string, credentials any) string {
	t.Helper()
	var fields map[string]any
	if raw := encode(t, credentials); raw == nil || json.Unmarshal(raw, &fields) != nil {
		return address
	}
	if id, _ := fields["client_id"].(string); id != "" {
		return strings.ReplaceAll(address, id, "")
	}
	return address
}
