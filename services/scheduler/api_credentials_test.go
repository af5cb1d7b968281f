package scheduler_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/oauth2"
)

// site is a provider whose metadata says where its upstream is.
type site struct {
	contracts.TypedCredentials[siteCredentials]
	contracts.TypedMetadata[siteMetadata]
}

type siteCredentials struct {
	Key    string `json:"key" validate:"required"`
	Secret string `json:"secret"`
}

type siteMetadata struct {
	URL   string `json:"url" validate:"omitempty,http_url"`
	Label string `json:"label"`
}

func (site) Name() string { return "Site" }

// tenant is a provider whose authorization server has a host for each customer.
type tenant struct {
	contracts.NoCredentials
	contracts.TypedMetadata[tenantMetadata]
	oauth2.AuthorizationCode
}

type tenantMetadata struct {
	Tenant string `json:"tenant" validate:"required"`
}

func (tenant) Name() string { return "Tenant" }

func sites() map[string]contracts.Provider {
	return map[string]contracts.Provider{"site": site{}, "tenant": tenant{AuthorizationCode: oauth2.AuthorizationCode{
		Hosts: []string{"api.example.com"},
		At: func(in *contracts.Integration) (oauth2.Endpoints, error) {
			m, err := contracts.MetadataOf[tenantMetadata](in)
			return oauth2.Endpoints{TokenURL: "https://" + m.Tenant + ".example.com/token"}, err
		},
	}}}
}

func (f *fixture) stored(t *testing.T, in api.Integration) string {
	t.Helper()
	plain, _, err := f.store.Credentials(t.Context(), uuid.MustParse(in.ID), postgres.Access{})
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}

// Who may change metadata can't have the stored credentials sent to a host of theirs.
func TestCredentialsDoNotMoveWithTheirHost(t *testing.T) {
	t.Parallel()
	f := start(t, sites())
	tests := []struct {
		name, provider, metadata, credentials string
		change, patch                         string
		refused, want                         string
	}{
		{
			name: "another host", provider: "site", metadata: `{"url":"https://a.example"}`, credentials: `{"key":"k","secret":"s"}`,
			change: `{"url":"https://evil.example"}`, refused: "(evil.example), which they were not given for", want: `{"key":"k","secret":"s"}`,
		},
		{
			name: "without encryption", provider: "site", metadata: `{"url":"https://a.example"}`, credentials: `{"key":"k"}`,
			change: `{"url":"http://a.example"}`, refused: "key", want: `{"key":"k"}`,
		},
		{
			name: "no host", provider: "site", metadata: `{"url":"https://a.example"}`, credentials: `{"key":"k"}`,
			change: `{"url":null}`, refused: "the provider's own", want: `{"key":"k"}`,
		},
		{
			name: "with some of the credentials", provider: "site", metadata: `{"url":"https://a.example"}`, credentials: `{"key":"k","secret":"s"}`,
			change: `{"url":"https://b.example"}`, patch: `{"key":"k2"}`, refused: "secret", want: `{"key":"k","secret":"s"}`,
		},
		{
			name: "with all of them", provider: "site", metadata: `{"url":"https://a.example"}`, credentials: `{"key":"k","secret":"s"}`,
			change: `{"url":"https://b.example"}`, patch: `{"key":"k2","secret":null}`, want: `{"key":"k2"}`,
		},
		{
			name: "the same host", provider: "site", metadata: `{"url":"https://a.example/v1"}`, credentials: `{"key":"k"}`,
			change: `{"url":"https://A.example:443/v2","label":"x"}`, want: `{"key":"k"}`,
		},
		{
			name: "tokens of another server", provider: "tenant", metadata: `{"tenant":"a"}`, credentials: `{"access_token":"t","refresh_token":"r"}`,
			change: `{"tenant":"evil"}`, refused: "revoke them first", want: `{"access_token":"t","refresh_token":"r"}`,
		},
		{name: "nothing stored", provider: "tenant", metadata: `{"tenant":"a"}`, credentials: `{}`, change: `{"tenant":"b"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := f.mustCreate(t, api.CreateIntegration{
				Provider: tt.provider, Name: strings.ReplaceAll(tt.name, " ", "-"), Paused: true,
				Metadata: json.RawMessage(tt.metadata), Credentials: json.RawMessage(tt.credentials),
			})
			updated, err := f.UpdateIntegration(t.Context(), api.UpdateIntegration{
				Integration: in.Name, Metadata: json.RawMessage(tt.change), Credentials: json.RawMessage(tt.patch),
			})
			if tt.refused != "" {
				wantCode(t, err, api.Invalid, tt.refused)
			} else if err != nil || updated.Version == in.Version {
				t.Errorf("got version %d after %d, %v", updated.Version, in.Version, err)
			}
			if got := f.stored(t, in); got != tt.want {
				t.Errorf("stored are %s, want %s", got, tt.want)
			}
			shown, err := f.Integration(t.Context(), in.Name)
			if err != nil || (tt.refused != "") != (shown.Version == in.Version) {
				t.Errorf("the integration has version %d after %d, %v", shown.Version, in.Version, err)
			}
		})
	}
}

// Credentials whose key is lost are replaced as a whole; nothing else of the integration is lost with them.
func TestLostCredentialsAreReplaced(t *testing.T) {
	t.Parallel()
	f := start(t, sites())
	in := f.mustCreate(t, api.CreateIntegration{
		Provider: "site", Name: "one", Metadata: json.RawMessage(`{"url":"https://a.example"}`), Credentials: json.RawMessage(`{"key":"k","secret":"s"}`),
	})
	if _, err := f.pool.Exec(t.Context(), `update credentials set key_id = 'gone'`); err != nil {
		t.Fatal(err)
	}
	update := api.UpdateIntegration{Integration: "one", Credentials: json.RawMessage(`{"secret":"s2"}`)}
	_, err := f.UpdateIntegration(t.Context(), update)
	wantCode(t, err, api.Refused, "gone")
	update.Credentials = json.RawMessage(`{"key":"k2"}`)
	if _, err := f.UpdateIntegration(t.Context(), update); err != nil {
		t.Fatal(err)
	}
	if got := f.stored(t, in); got != `{"key":"k2"}` {
		t.Errorf("stored are %s: nothing of what can't be read may be carried over", got)
	}
}
