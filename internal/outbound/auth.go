package outbound

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// auth lets the provider put its credentials on a request.
type auth struct {
	base        http.RoundTripper
	provider    contracts.Provider
	integration func() *contracts.Integration
	// tokens is nil where there are none to be kept fresh.
	tokens Tokens
	latest atomic.Pointer[hostsOfOne]
}

// hostsOfOne are the hosts of one version of an integration.
type hostsOfOne struct {
	of    *contracts.Integration
	hosts Hosts
}

func (a *auth) RoundTrip(req *http.Request) (*http.Response, error) {
	signed, err := a.sign(req)
	if err != nil {
		closeBody(req)
		return nil, &unsentError{fmt.Errorf("authenticate %s %s: %w", req.Method, req.URL.Host, err)}
	}
	return a.base.RoundTrip(signed)
}

// sign returns the request with the provider's credentials: a clone, for a transport must not change what it was given.
// A request to a host that the provider has not named is returned as it is.
func (a *auth) sign(req *http.Request) (*http.Request, error) {
	in := a.integration()
	signer, signs := a.provider.(contracts.Authenticator)
	_, grants := a.provider.(contracts.OAuth2)
	if !signs && !grants {
		return req, nil
	}
	hosts, err := a.hostsOf(in)
	if err != nil {
		return nil, err
	}
	// A provider that signs and names no hosts looks at the address itself, on redirects too.
	lets := hosts.Cover(req.URL) && staysHome(req) || signs && !hosts.Named
	if !lets && (signs || !hosts.None()) {
		return req, nil
	}
	if a.tokens != nil && staysHome(req) {
		fresh, err := a.tokens.Fresh(req.Context())
		if err != nil {
			return nil, err
		}
		in, callOf(req).signed = fresh, fresh
	}
	if signs {
		signed := req.Clone(req.Context())
		return signed, signer.Authenticate(in, signed)
	}
	return bearer(in, req, lets)
}

// bearer puts the access token on a request.
func bearer(in *contracts.Integration, req *http.Request, lets bool) (*http.Request, error) {
	var token struct {
		AccessToken string `json:"access_token"`
	}
	if err := decodeCredentials(in, &token); err != nil {
		return nil, err
	}
	if token.AccessToken == "" {
		return req, nil
	}
	if !lets {
		return nil, contracts.Permanent(ErrNoHosts)
	}
	signed := req.Clone(req.Context())
	signed.Header.Set("Authorization", "Bearer "+token.AccessToken)
	return signed, nil
}

// hostsOf are the hosts of what the integration is at the moment; they are found once for each of its versions.
func (a *auth) hostsOf(in *contracts.Integration) (Hosts, error) {
	if have := a.latest.Load(); have != nil && have.of == in {
		return have.hosts, nil
	}
	hosts, err := CredentialHosts(a.provider, in)
	if err != nil {
		return Hosts{}, err
	}
	a.latest.Store(&hostsOfOne{of: in, hosts: hosts})
	return hosts, nil
}

// staysHome reports whether all redirects that led to a request stayed with the scheme and host that the caller chose.
// A redirect keeps the answer that it follows.
func staysHome(req *http.Request) bool {
	for follows := req.Response; follows != nil; follows = follows.Request.Response {
		from := follows.Request
		if from == nil || from.URL.Scheme != req.URL.Scheme || !strings.EqualFold(from.URL.Host, req.URL.Host) {
			return false
		}
	}
	return true
}

func decodeCredentials(in *contracts.Integration, into any) error {
	values, err := in.Credentials()
	if err != nil {
		return err
	}
	raw, err := json.Marshal(values)
	if err != nil {
		return fmt.Errorf("encode credentials of %q", in.Name())
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("credentials of %q do not fit", in.Name())
	}
	return nil
}
