package oauth2_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/internal/registry"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/oauth2"
)

// server notes the forms that it is sent, and answers them all alike.
type server struct {
	*httptest.Server
	mu  sync.Mutex
	got []url.Values
}

// sent is what it was sent so far.
func (s *server) sent() []url.Values {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

func answering(t *testing.T, answer http.HandlerFunc) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		form := r.PostForm
		if user, password, ok := r.BasicAuth(); ok {
			form.Set("basic", user+":"+password)
		}
		s.mu.Lock()
		s.got = append(s.got, form)
		s.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func answer(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

func (s *server) flow() oauth2.AuthorizationCode {
	return oauth2.AuthorizationCode{
		Endpoints: oauth2.Endpoints{AuthURL: s.URL + "/authorize?tenant=1", TokenURL: s.URL + "/token", RevokeURL: s.URL + "/revoke", Issuer: s.URL},
		Scopes:    []string{"a", "b"}, Params: map[string]string{"access_type": "offline"},
	}
}

func integration(credentials string) *contracts.Integration {
	return contracts.NewIntegration(contracts.IntegrationFields{Name: "main", Credentials: json.RawMessage(credentials)})
}

const stored = `{"client_id":"id","client_secret":"s3cret&","access_token":"old","refresh_token":"refresh"}`

func TestAuthorizationURL(t *testing.T) {
	s := answering(t, answer(200, "{}"))
	ctx := contracts.WithPKCEVerifier(t.Context(), "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
	address, err := s.flow().AuthorizationURL(ctx, integration(stored), "https://app.example.com/back", "the state")
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	want := url.Values{
		"client_id": {"id"}, "redirect_uri": {"https://app.example.com/back"}, "response_type": {"code"}, "scope": {"a b"}, "state": {"the state"},
		"access_type": {"offline"}, "tenant": {"1"},
		// The example of RFC 7636, appendix B.
		"code_challenge": {"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}, "code_challenge_method": {"S256"},
	}
	if diff := cmp.Diff(want, u.Query()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestExchangeCode(t *testing.T) {
	s := answering(t, answer(200, `{"access_token":"new","refresh_token":"fresh","expires_in":3600,"token_type":"bearer"}`))
	before := time.Now()
	token, err := s.flow().ExchangeCode(contracts.WithPKCEVerifier(t.Context(), "verifier"), integration(stored), "code", "https://app.example.com/back")
	if err != nil {
		t.Fatal(err)
	}
	want := url.Values{
		"grant_type": {"authorization_code"}, "code": {"code"}, "redirect_uri": {"https://app.example.com/back"}, "code_verifier": {"verifier"},
		"basic": {"id:" + url.QueryEscape("s3cret&")},
	}
	if diff := cmp.Diff([]url.Values{want}, s.sent()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if token.AccessToken != "new" || token.RefreshToken != "fresh" || token.ExpiresAt == nil {
		t.Fatalf("the token is %s", token)
	}
	// Between the call and now an hour of it began.
	if token.ExpiresAt.Before(before.Add(time.Hour-time.Minute)) || token.ExpiresAt.After(time.Now().Add(time.Hour)) {
		t.Errorf("it lives for %s", token.ExpiresAt.Sub(before))
	}
}

// However a refresh ends, its refresh token is sent once.
func TestRefreshToken(t *testing.T) {
	cut := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write([]byte(`{"access_token":"ne`))
		panic(http.ErrAbortHandler)
	}
	tests := []struct {
		name      string
		answer    http.HandlerFunc
		ended     bool
		deferred  time.Duration
		executed  bool
		wantError string
	}{
		{name: "a token", answer: answer(200, `{"access_token":"new"}`)},
		{name: "an ended grant", answer: answer(400, `{"error":"invalid_grant"}`), ended: true, wantError: "invalid_grant"},
		{name: "a token that was used before", answer: answer(400, `{"error":"unauthorized_client"}`), ended: true, wantError: "unauthorized_client"},
		{name: "GitHub's ended grant, with status 200", answer: answer(200, `{"error":"bad_refresh_token"}`), ended: true, wantError: "bad_refresh_token"},
		{name: "a wrong client", answer: answer(401, `{"error":"invalid_client","error_description":"no\nsuch"}`), wantError: "401 invalid_client: no such"},
		{
			name: "a secret in what it says", answer: answer(401, `{"error":"invalid_client","error_description":"secret=s3cret1 is \u001b wrong"}`),
			wantError: "invalid_client: secret=[REDACTED] is \ufffd wrong",
		},
		{name: "patience", answer: answer(429, `{}`, "Retry-After", "7"), deferred: 7 * time.Second, wantError: "429"},
		{
			name: "patience until a date", answer: answer(429, `{}`, "Retry-After", "Wed, 01 Jan 2020 12:00:07 GMT", "Date", "Wed, 01 Jan 2020 12:00:00 GMT"),
			deferred: 7 * time.Second, wantError: "429",
		},
		{name: "a failure", answer: answer(502, `<html>s3cret`), executed: true, wantError: "502"},
		{name: "a redirect", answer: answer(307, ``, "Location", "/elsewhere"), executed: true, wantError: "307"},
		{name: "half an answer", answer: cut, executed: true, wantError: "EOF"},
		{name: "no token", answer: answer(200, `{"refresh_token":"s3cret"}`), executed: true, wantError: "no access_token"},
		{name: "no JSON", answer: answer(200, `s3cret`), executed: true, wantError: "neither JSON nor a form"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := answering(t, tt.answer)
			token, err := s.flow().RefreshToken(t.Context(), integration(stored))
			if len(s.sent()) != 1 || s.sent()[0].Get("refresh_token") != "refresh" || s.sent()[0].Get("grant_type") != "refresh_token" {
				t.Fatalf("sent %v, want the refresh token once", s.sent())
			}
			if tt.wantError == "" {
				if err != nil || token.AccessToken != "new" {
					t.Errorf("got %s, %v", token, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.wantError) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("the error is %v, want %q in it and no secret", err, tt.wantError)
			}
			if contracts.IsPermanent(err) != tt.ended {
				t.Errorf("permanent is %t, want %t", contracts.IsPermanent(err), tt.ended)
			}
			if deferral, ok := contracts.AsDeferral(err); ok != (tt.deferred > 0) || ok && deferral.Delay != tt.deferred {
				t.Errorf("the deferral is %v", deferral)
			}
			if refused, ok := errors.AsType[*oauth2.Error](err); ok && refused.Executed() != tt.executed {
				t.Errorf("executed is %t, want %t", refused.Executed(), tt.executed)
			}
		})
	}
}

func TestRefreshWithoutRefreshToken(t *testing.T) {
	s := answering(t, answer(200, "{}"))
	_, err := s.flow().RefreshToken(t.Context(), integration(`{"client_id":"id","access_token":"old"}`))
	if !errors.Is(err, oauth2.ErrNoRefreshToken) || !contracts.IsPermanent(err) || len(s.sent()) != 0 {
		t.Errorf("the error is %v, sent %v", err, s.sent())
	}
}

func TestRevokeToken(t *testing.T) {
	tests := []struct {
		name, credentials string
		status            int
		want              []url.Values
		fails             bool
	}{
		{
			"a grant", stored, 200,
			[]url.Values{{"token": {"refresh"}, "token_type_hint": {"refresh_token"}, "basic": {"id:" + url.QueryEscape("s3cret&")}}},
			false,
		},
		{
			"an access token of a public client", `{"client_id":"id","access_token":"old"}`, 200,
			[]url.Values{{"token": {"old"}, "token_type_hint": {"access_token"}, "client_id": {"id"}}},
			false,
		},
		{"nothing", `{"client_id":"id"}`, 200, nil, false},
		{
			"a grant, in vain", stored, 503,
			[]url.Values{{"token": {"refresh"}, "token_type_hint": {"refresh_token"}, "basic": {"id:" + url.QueryEscape("s3cret&")}}},
			true,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := answering(t, answer(tt.status, ""))
			err := s.flow().RevokeToken(t.Context(), integration(tt.credentials))
			if (err != nil) != tt.fails {
				t.Errorf("the error is %v", err)
			}
			if diff := cmp.Diff(tt.want, s.sent()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	nowhere := oauth2.AuthorizationCode{}
	if err := nowhere.RevokeToken(t.Context(), integration(stored)); err != nil {
		t.Errorf("an upstream that can't revoke: %v", err)
	}
}

func TestClientCredentials(t *testing.T) {
	s := answering(t, answer(200, `{"access_token":"new","expires_in":60}`))
	flow := oauth2.ClientCredentials{
		Endpoints: oauth2.Endpoints{TokenURL: s.URL}, Scopes: []string{"a"}, Params: map[string]string{"audience": "api"},
		Client: func(*contracts.Integration) (oauth2.Client, error) {
			return oauth2.Client{ID: "app", Secret: "key", SecretInBody: true}, nil
		},
	}
	token, err := flow.RefreshToken(t.Context(), integration(`{}`))
	if err != nil || token.AccessToken != "new" || token.ExpiresAt == nil {
		t.Errorf("got %s, %v", token, err)
	}
	want := url.Values{"grant_type": {"client_credentials"}, "scope": {"a"}, "audience": {"api"}, "client_id": {"app"}, "client_secret": {"key"}}
	if diff := cmp.Diff([]url.Values{want}, s.sent()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := flow.AuthorizationURL(t.Context(), integration(`{}`), "", ""); !errors.Is(err, oauth2.ErrNoUsers) {
		t.Errorf("to send a user away: %v", err)
	}
	// A wrong client can be mended, and there is nobody to ask.
	refusing := answering(t, answer(400, `{"error":"unauthorized_client"}`))
	flow.TokenURL = refusing.URL
	if _, err := flow.RefreshToken(t.Context(), integration(`{}`)); err == nil || contracts.IsPermanent(err) {
		t.Errorf("a wrong client is %v", err)
	}
}

func TestCredentialHosts(t *testing.T) {
	in := contracts.NewIntegration(contracts.IntegrationFields{Name: "main", Metadata: json.RawMessage(`{"api":"https://eu.example.com/v1"}`)})
	flow := oauth2.AuthorizationCode{
		Endpoints: oauth2.Endpoints{AuthURL: "https://login.example.com", TokenURL: "https://accounts.example.com/token"}, Hosts: []string{"api.example.com"},
	}
	hosts, err := flow.CredentialHosts(in)
	if diff := cmp.Diff([]string{"api.example.com", "https://eu.example.com"}, hosts); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	hosts, err = flow.OAuth2Hosts(in)
	if diff := cmp.Diff([]string{"https://accounts.example.com"}, hosts); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	// Without Hosts it is the platform that decides.
	if hosts, err := (oauth2.ClientCredentials{}).CredentialHosts(in); len(hosts) != 0 || err != nil {
		t.Errorf("got %v, %v", hosts, err)
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	client := oauth2.Client{ID: "app", Secret: "s3cret"}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		if text := fmt.Sprintf(verb, client); strings.Contains(text, "s3cret") || strings.Contains(text, "733363726574") {
			t.Errorf("%s prints %s", verb, text)
		}
	}
}

// A provider that embeds a flow satisfies the registry.
func ExampleAuthorizationCode() {
	type Provider struct {
		contracts.NoMetadata
		contracts.NoCredentials
		named
		oauth2.AuthorizationCode
	}
	provider := Provider{AuthorizationCode: oauth2.AuthorizationCode{
		Endpoints: oauth2.Endpoints{
			AuthURL:   "https://accounts.example.com/authorize",
			TokenURL:  "https://accounts.example.com/token",
			RevokeURL: "https://accounts.example.com/revoke",
			Issuer:    "https://accounts.example.com",
		},
		Hosts:  []string{"api.example.com"},
		Scopes: []string{"mail.read"},
	}}
	registry, err := registry.New(map[string]contracts.Provider{"mail": provider})
	if err != nil {
		fmt.Println(err)
		return
	}
	found, _ := registry.Provider("mail")
	_, ok := found.(contracts.OAuth2)
	fmt.Println(registry.Keys(), ok)
	// Output: [mail] true
}

type named struct{}

func (named) Name() string { return "Mail" }
