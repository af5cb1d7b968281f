package outbound_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/internal/outbound"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// naming is a provider that names hosts.
type naming struct {
	contracts.Provider
	hosts []string
}

func (n naming) CredentialHosts(*contracts.Integration) ([]string, error) { return n.hosts, nil }

// namingSigner signs whatever it is asked to sign.
type namingSigner struct{ naming }

func (namingSigner) Authenticate(in *contracts.Integration, req *http.Request) error {
	return signer{}.Authenticate(in, req)
}

// bare is an OAuth2 provider that says nothing of hosts.
type bare struct {
	contracts.Provider
	contracts.OAuth2
}

func hostsOf(t *testing.T, provider contracts.Provider, metadata string) outbound.Hosts {
	t.Helper()
	in := contracts.NewIntegration(contracts.IntegrationFields{Name: "main", Metadata: json.RawMessage(metadata)})
	hosts, err := outbound.CredentialHosts(provider, in)
	if err != nil {
		t.Fatal(err)
	}
	return hosts
}

func TestCredentialHostsCover(t *testing.T) {
	tests := []struct {
		name, metadata string
		hosts          []string
		address        string
		want           bool
	}{
		{"a named host", `{}`, []string{"api.example.com"}, "https://api.example.com/a?b=c", true},
		{
			"in other letters, with its port and a dot", `{}`,
			[]string{"API.example.com"},
			"https://api.EXAMPLE.com.:443/", true,
		},
		{"without encryption", `{}`, []string{"api.example.com"}, "http://api.example.com/", false},
		{"at another port", `{}`, []string{"api.example.com"}, "https://api.example.com:8443/", false},
		{"another host", `{}`, []string{"api.example.com"}, "https://example.com/", false},
		{"a host that begins alike", `{}`, []string{"api.example.com"}, "https://api.example.com.evil.example/", false},
		{
			"a user's name that looks like it", `{}`,
			[]string{"api.example.com"},
			"https://api.example.com@evil.example/",
			false,
		},
		{"below a domain", `{}`, []string{"*.example.com"}, "https://eu.api.example.com/", true},
		{"the domain itself", `{}`, []string{"*.example.com"}, "https://example.com/", false},
		{"a domain that ends alike", `{}`, []string{"*.example.com"}, "https://evilexample.com/", false},
		{"an address", `{}`, []string{"http://127.0.0.1:8080/v1"}, "http://127.0.0.1:8080/v2", true},
		{
			"a URL of the metadata", `{"api":{"bases":["HTTPS://Shop.example/api"]}}`, nil,
			"https://shop.example/orders",
			true,
		},
		{"no URL of the metadata", `{"owner":"shop.example"}`, nil, "https://shop.example/orders", false},
		{
			"a URL of the metadata, though other hosts are named", `{"home":"https://shop.example"}`,
			[]string{"api.example.com"},
			"https://shop.example/", false,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			address, err := url.Parse(tt.address)
			if err != nil {
				t.Fatal(err)
			}
			if got := hostsOf(t, naming{hosts: tt.hosts}, tt.metadata).Cover(address); got != tt.want {
				t.Errorf("%t, want %t", got, tt.want)
			}
		})
	}
	for _, entry := range []string{"", "*", "*.com", "a.*.com", "ftp://a.example", "https://user@a.example", "a b"} {
		in := contracts.NewIntegration(contracts.IntegrationFields{Name: "main"})
		if _, err := outbound.CredentialHosts(naming{hosts: []string{entry}}, in); !contracts.IsPermanent(err) {
			t.Errorf("%q as a host: %v", entry, err)
		}
	}
}

func TestCredentialHostsMove(t *testing.T) {
	tests := []struct {
		before, after string
		want          bool
	}{
		{`{}`, `{}`, false},
		{`{"url":"https://a.example/x"}`, `{"url":"https://a.example/y","owner":"b"}`, false},
		{`{"url":"https://a.example"}`, `{"url":"https://b.example"}`, true},
		{`{"url":"https://a.example"}`, `{"url":"http://a.example"}`, true},
		{`{"url":"https://a.example"}`, `{"url":"https://a.example:8443"}`, true},
		{`{"url":"https://a.example"}`, `{}`, true},
		{`{}`, `{"url":"https://a.example"}`, true},
		{`{"url":"https://a.example","more":"https://b.example"}`, `{"url":"https://b.example"}`, false},
	}
	for _, tt := range tests {
		if got := hostsOf(t, plain{}, tt.after).MovedFrom(hostsOf(t, plain{}, tt.before)); got != tt.want {
			t.Errorf("from %s to %s: %t, want %t", tt.before, tt.after, got, tt.want)
		}
	}
}

// An upstream's own link to another host gets no credentials, though no redirect leads there.
func TestCredentialsStayWithTheirHosts(t *testing.T) {
	const token = `{"access_token":"t"}`
	for name, provider := range map[string]func(home string) contracts.Provider{
		"a token":          func(string) contracts.Provider { return tokens{} },
		"without a namer":  func(string) contracts.Provider { return bare{} },
		"a signed request": func(home string) contracts.Provider { return namingSigner{naming{hosts: []string{home}}} },
	} {
		t.Run(name, func(t *testing.T) {
			home, away := newUpstream(t), newUpstream(t)
			c := client(http.DefaultTransport, provider(home.URL), token, home.URL)
			get(t, c, home.URL+"/a")
			get(t, c, away.URL+"/b")
			if len(home.got) != 1 || home.got[0] == "/a" {
				t.Errorf("home was sent %q, want the credentials", home.got)
			}
			if diff := cmp.Diff([]string{"/b"}, away.got); diff != "" {
				t.Errorf("away (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTokenWithoutHosts(t *testing.T) {
	up := newUpstream(t)
	_, err := client(http.DefaultTransport, bare{}, `{"access_token":"t"}`).Get(up.URL)
	if !errors.Is(err, outbound.ErrNoHosts) || !contracts.IsPermanent(err) || len(up.got) != 0 {
		t.Errorf("the error is %v, sent %q", err, up.got)
	}
}
