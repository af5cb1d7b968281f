package platform_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/oauth2"
)

// granting is a provider whose authorization server answers anything. It asks that server by itself, or says anything
// without asking.
type granting struct {
	contracts.NoMetadata
	contracts.TypedCredentials[struct {
		ClientID string `json:"client_id"`
	}]
	oauth2.AuthorizationCode
	*texts
}

// newGranting is a provider whose server is behind the transport of [anything].
func newGranting(d *texts) granting {
	return granting{texts: d, AuthorizationCode: oauth2.AuthorizationCode{
		Endpoints: oauth2.Endpoints{
			AuthURL: "https://upstream.example/authorize", TokenURL: "https://upstream.example/token", RevokeURL: "https://upstream.example/revoke",
		},
		Hosts: []string{"upstream.example"},
	}}
}

func (granting) Name() string { return "Granting" }

// AuthorizationURL is anywhere, or anything.
func (g granting) AuthorizationURL(ctx context.Context, in *contracts.Integration, redirectURI, state string) (string, error) {
	g.note("AuthorizationURL")
	if g.isHonest() || g.below(2) == 0 {
		return g.AuthorizationCode.AuthorizationURL(ctx, in, redirectURI, state)
	}
	if g.below(2) == 0 {
		return "", g.fail()
	}
	return "https://upstream.example/" + g.text(), nil
}

// HealthCheck sends a request of the platform's, which the access token goes with to the hosts of the flow.
func (g granting) HealthCheck(ctx context.Context, in *contracts.Integration) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://upstream.example/me", http.NoBody)
	if err != nil {
		return err
	}
	answer, err := in.HTTP().Do(req)
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

func (g granting) OAuth2Issuer(*contracts.Integration) (string, error) {
	g.note("OAuth2Issuer")
	switch {
	case g.isHonest() || g.below(2) == 0:
		return "", nil
	case g.below(2) == 0:
		return "", g.fail()
	}
	return g.text(), nil
}

func (g granting) RequiresOAuth2Issuer(*contracts.Integration) (bool, error) {
	g.note("RequiresOAuth2Issuer")
	if g.isHonest() || g.below(4) > 0 {
		return false, nil
	}
	return true, g.fail()
}

func (g granting) OAuth2Hosts(in *contracts.Integration) ([]string, error) {
	g.note("OAuth2Hosts")
	switch {
	case g.isHonest() || g.below(2) == 0:
		return g.AuthorizationCode.OAuth2Hosts(in)
	case g.below(2) == 0:
		return nil, g.fail()
	}
	return g.list(), nil
}

// token is what the provider says without having asked anybody.
func (g granting) token() (contracts.Token, error) {
	at := time.Now().Add(time.Duration(g.below(3)-1) * time.Hour)
	token := contracts.Token{AccessToken: g.text(), RefreshToken: g.text(), ExpiresAt: &at}
	if g.below(2) == 0 {
		return token, g.fail()
	}
	return token, nil
}

func (g granting) ExchangeCode(ctx context.Context, in *contracts.Integration, code, redirectURI string) (contracts.Token, error) {
	g.note("ExchangeCode")
	if g.isHonest() || g.below(2) == 0 {
		return g.AuthorizationCode.ExchangeCode(ctx, in, code, redirectURI)
	}
	return g.token()
}

func (g granting) RefreshToken(ctx context.Context, in *contracts.Integration) (contracts.Token, error) {
	g.note("RefreshToken")
	if g.isHonest() || g.below(2) == 0 {
		return g.AuthorizationCode.RefreshToken(ctx, in)
	}
	return g.token()
}

func (g granting) RevokeToken(ctx context.Context, in *contracts.Integration) error {
	g.note("RevokeToken")
	if g.isHonest() || g.below(2) == 0 {
		return g.AuthorizationCode.RevokeToken(ctx, in)
	}
	return g.fail()
}

func (g granting) ResolveIdentity(context.Context, *contracts.Integration) (contracts.Identity, error) {
	g.note("ResolveIdentity")
	if g.isHonest() {
		return contracts.Identity{ID: "ann"}, nil
	}
	if g.below(3) == 0 {
		return contracts.Identity{}, g.fail()
	}
	return contracts.Identity{ID: g.text(), Username: g.text(), Name: g.text(), Email: g.text(), Raw: g.document()}, nil
}

// isHonest reports whether the authorization server answers as it should.
func (d *texts) isHonest() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.honest
}

func (d *texts) setHonest(honest bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.honest = honest
}

// grant is what the authorization server answers.
func (d *texts) grant(req *http.Request) *http.Response {
	header, status, body := http.Header{"Content-Type": {"application/json"}}, http.StatusOK, `{"access_token":"good","refresh_token":"good","expires_in":3600}`
	if !d.isHonest() {
		status = []int{200, 200, 400, 401, 403, 429, 500, 503}[d.below(8)]
		header.Set("Retry-After", "1")
		body = d.text()
		if d.below(4) > 0 {
			body = string(d.answer())
		}
		if d.below(4) == 0 {
			header = http.Header{"Retry-After": {d.text()}, "Content-Type": {d.text()}, "Date": {d.text()}}
		}
	}
	return &http.Response{
		StatusCode: status, Request: req, Header: header, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
}

// answer draws an answer of OAuth: some of its fields, as JSON or as a form.
func (d *texts) answer() []byte {
	names := []string{"access_token", "refresh_token", "token_type", "expires_in", "expires_at", "scope", "error", "error_description", "error_uri"}
	known := sample{"error": {"invalid_grant", "invalid_client", "temporarily_unavailable"}, "token_type": {"Bearer"}, "expires_in": {"1", "-1", "1e300"}}
	form, object := url.Values{}, []string{}
	for _, name := range names {
		value := d.text()
		if values := known[name]; len(values) > 0 && d.below(2) == 0 {
			value = values[d.below(len(values))]
		}
		if d.below(2) == 0 {
			form.Set(name, value)
			object = append(object, `"`+name+`":`+string(quoted(value)))
		}
	}
	if d.below(4) == 0 {
		return []byte(form.Encode())
	}
	return []byte("{" + strings.Join(object, ",") + "}")
}

// complaints are what a server says of its handler, such as that it has panicked.
type complaints struct{ *testing.T }

func (c complaints) Write(said []byte) (int, error) {
	c.Errorf("the server says: %s", said[:min(len(said), 300)])
	return len(said), nil
}

// browse serves the OAuth routes to browsers.
func (f *hostile) browse(c *platform.Config) {
	f.Helper()
	front := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.OAuthHandler().ServeHTTP(w, r) }))
	front.Config.ErrorLog = slog.NewLogLogger(slog.NewTextHandler(complaints{f.T}, nil), slog.LevelError)
	front.Start()
	f.Cleanup(front.Close)
	s := &c.TokenRefresher
	s.Addr, s.PublicURL = "", front.URL
	s.Tick, s.Sweep, s.Backoff, s.BackoffMost, s.Floor = 20*time.Millisecond, 50*time.Millisecond, 10*time.Millisecond, 50*time.Millisecond, 10*time.Millisecond
}

// grantOnce is one round of authorizations, refreshes and revocations, in all of which anything is said. Then an
// authorization with a server that is well must succeed.
func (f *hostile) grantOnce(d *texts, round string) {
	f.Helper()
	client := api.New(f.nc, time.Minute)
	var refreshed []uuid.UUID
	refreshed = append(refreshed, f.expired("unattended", round+"-unattended"))
	for n := range 6 {
		id := f.expired("granting", fmt.Sprint(round, "-", n))
		refreshed = append(refreshed, id)
		f.authorize(client, id, url.Values{"code": {d.text()}, "iss": {d.text()}})
		f.healthOf(client, id.String(), "granting")
		f.authorize(client, id, url.Values{"error": {d.text()}, "error_description": {d.text()}})
	}
	for _, id := range refreshed {
		f.await("the end of a refresh", func() bool {
			grant, err := f.Store.GrantGet(f.Context(), id)
			return err == nil && (grant.Failures > 0 || grant.State != "" && grant.State != "connected" || grant.Fence > 0 && grant.LeasedUntil == nil)
		})
		if _, err := client.RevokeToken(f.Context(), api.RevokeToken{Integration: id.String(), By: d.text()}); err != nil && !isRefused(err) && api.CodeOf(err) != api.Unavailable {
			f.Errorf("a token could not be revoked: %v", err)
		}
	}
	d.setHonest(true)
	defer d.setHonest(false)
	id := f.expired("granting", round+"-well")
	if page := f.authorize(client, id, url.Values{"code": {"good"}}); !strings.Contains(page, "Done") {
		f.Errorf("an authorization ends with %s", page)
	}
	if status, err := client.Token(f.Context(), id.String()); err != nil || status.State != "connected" || !status.Usable {
		f.Errorf("after an authorization the token is %+v, %v", status, err)
	}
}

// expired makes an integration whose token is due to be refreshed.
func (f *hostile) expired(provider, name string) uuid.UUID {
	f.Helper()
	id, now := postgres.NewID(), time.Now()
	credentials, _ := json.Marshal(map[string]any{ // maps of texts can be encoded
		"client_id": "tributary", "access_token": "old", "refresh_token": "old", "token_expires_at": now.Add(-time.Minute),
	})
	err := f.Store.InTx(f.Context(), func(tx *postgres.Tx) error {
		row := dbsqlc.IntegrationInsertParams{ID: id, Provider: provider, Name: name, Metadata: []byte("{}"), Now: now}
		if _, err := tx.IntegrationInsert(f.Context(), row); err != nil {
			return err
		}
		_, err := f.Store.PutCredentials(f.Context(), tx, id, credentials, 0, postgres.Access{Who: "test", Why: "begin", At: now})
		return err
	})
	if err != nil {
		f.Fatal(err)
	}
	return id
}

// authorize goes the way of a browser, and returns the page at its end.
func (f *hostile) authorize(client *api.Client, id uuid.UUID, arrival url.Values) string {
	f.Helper()
	link, err := client.ConnectIntegration(f.Context(), api.ConnectIntegration{Integration: id.String(), By: "ann"})
	if err != nil {
		f.Fatal(err)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		f.Fatal(err)
	}
	browser := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	get := func(address string) (*http.Response, string) {
		resp, err := browser.Get(address)
		if err != nil {
			f.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		page, err := io.ReadAll(resp.Body)
		if err != nil {
			f.Fatal(err)
		}
		return resp, string(page)
	}
	resp, page := get(link.URL)
	if resp.StatusCode >= http.StatusInternalServerError {
		return page // the provider has no address to go to
	}
	away, err := resp.Location()
	if err != nil {
		f.Fatalf("the link leads nowhere: %v: %d %s", err, resp.StatusCode, page)
	}
	back, err := url.Parse(away.Query().Get("redirect_uri"))
	if err != nil {
		f.Fatal(err)
	}
	if back.Host == "" {
		return "" // the provider has sent the browser away for good
	}
	arrival.Set("state", away.Query().Get("state"))
	back.RawQuery = arrival.Encode()
	if len(back.RawQuery) > 16<<10 {
		// Servers of browsers take no such address.
		return ""
	}
	resp, page = get(back.String())
	if resp.StatusCode >= http.StatusInternalServerError {
		f.Errorf("the browser is answered with %d", resp.StatusCode)
	}
	return page
}
