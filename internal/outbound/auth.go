package outbound

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// auth lets the provider put its credentials on a request.
type auth struct {
	base        http.RoundTripper
	provider    contracts.Provider
	integration func() *contracts.Integration
	// tokens is nil where there are none to be kept fresh.
	tokens Tokens
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
func (a *auth) sign(req *http.Request) (*http.Request, error) {
	in := a.integration()
	if a.tokens != nil && staysHome(req) {
		fresh, err := a.tokens.Fresh(req.Context())
		if err != nil {
			return nil, err
		}
		in, callOf(req).signed = fresh, fresh
	}
	switch provider := a.provider.(type) {
	case contracts.Authenticator:
		signed := req.Clone(req.Context())
		return signed, provider.Authenticate(in, signed)
	case contracts.OAuth2:
		var token struct {
			AccessToken string `json:"access_token"`
		}
		if err := decodeCredentials(in, &token); err != nil {
			return nil, err
		}
		if token.AccessToken == "" || !staysHome(req) {
			return req, nil
		}
		signed := req.Clone(req.Context())
		signed.Header.Set("Authorization", "Bearer "+token.AccessToken)
		return signed, nil
	}
	return req, nil
}

// staysHome reports whether all redirects that led to a request stayed with the scheme and host that the caller chose. A redirect keeps the
// answer that it follows.
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
