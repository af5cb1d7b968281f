package oauth2

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// ErrNoUsers is what [ClientCredentials] answers when a user is to be sent to the upstream.
var ErrNoUsers = errors.New("this provider has no users to ask: it gets its tokens with its own client's credentials")

// ClientCredentials is the flow in which an application acts for itself (RFC 6749 section 4.4): no user, no refresh token; a new token is got for the asking.
// To embed.
type ClientCredentials struct {
	// Endpoints are the addresses; AuthURL and Issuer are not used.
	Endpoints
	// Hosts are as in [AuthorizationCode].
	Hosts []string
	// Scopes are what is asked for.
	Scopes []string
	// Params are further parameters of the token request, such as audience.
	Params map[string]string
	// Client is the application; nil takes the integration's credentials client_id and client_secret.
	Client func(*contracts.Integration) (Client, error)
	// At gives the addresses of upstreams that have one for each customer; nil takes Endpoints.
	At func(*contracts.Integration) (Endpoints, error)
	// Threshold is how long before its expiry a token is refreshed; 0 means [contracts.DefaultRefreshThreshold].
	Threshold time.Duration
}

// AuthorizationURL is [ErrNoUsers].
func (ClientCredentials) AuthorizationURL(context.Context, *contracts.Integration, string, string) (string, error) {
	return "", contracts.Permanent(ErrNoUsers)
}

// ExchangeCode is [ErrNoUsers].
func (ClientCredentials) ExchangeCode(context.Context, *contracts.Integration, string, string) (contracts.Token, error) {
	return contracts.Token{}, contracts.Permanent(ErrNoUsers)
}

// RefreshToken gets a new token. No error of it is permanent: the client's credentials can be mended, and there is nobody to authorize again.
func (c ClientCredentials) RefreshToken(ctx context.Context, in *contracts.Integration) (contracts.Token, error) {
	client, endpoints, err := c.party(in)
	if err != nil {
		return contracts.Token{}, err
	}
	form := url.Values{"grant_type": {"client_credentials"}}
	if len(c.Scopes) > 0 {
		form.Set("scope", strings.Join(c.Scopes, " "))
	}
	for name, value := range c.Params {
		form.Set(name, value)
	}
	return client.token(ctx, in, endpoints.TokenURL, form)
}

// RevokeToken ends the stored access token (RFC 7009).
func (c ClientCredentials) RevokeToken(ctx context.Context, in *contracts.Integration) error {
	client, endpoints, err := c.party(in)
	if err != nil {
		return err
	}
	return revoke(ctx, in, endpoints.RevokeURL, client)
}

// RefreshThreshold is the Threshold.
func (c ClientCredentials) RefreshThreshold() time.Duration { return c.Threshold }

// GrantsUnattended says that RefreshToken needs no user and no refresh token.
func (ClientCredentials) GrantsUnattended() {}

// CredentialHosts are the Hosts, and those of URLs among the metadata; none when there are no Hosts.
func (c ClientCredentials) CredentialHosts(in *contracts.Integration) ([]string, error) {
	return hostsWithMetadata(c.Hosts, in)
}

// OAuth2Hosts are the hosts of the endpoints that secrets are sent to.
func (c ClientCredentials) OAuth2Hosts(in *contracts.Integration) ([]string, error) {
	return AuthorizationCode{Endpoints: c.Endpoints, At: c.At}.OAuth2Hosts(in)
}

func (c ClientCredentials) party(in *contracts.Integration) (Client, Endpoints, error) {
	return AuthorizationCode{Endpoints: c.Endpoints, Client: c.Client, At: c.At}.party(in)
}
