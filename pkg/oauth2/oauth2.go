// Package oauth2 has ready-made values for the standard flows of OAuth 2.0, over golang.org/x/oauth2. A provider embeds [AuthorizationCode] or
// [ClientCredentials], declares addresses and scopes, and has the whole of [contracts.OAuth2]:
//
//	type Provider struct {
//		contracts.NoMetadata
//		contracts.TypedCredentials[Credentials]
//		oauth2.AuthorizationCode
//	}
//
// What is particular here is how carefully a refresh token is spent. It is sent once: an answer that can't be read, a redirect or a cut connection is
// an error for the caller to judge, and never a reason to send the token again from here. An upstream that rotates refresh tokens takes a second
// use for a theft.
package oauth2

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"golang.org/x/oauth2"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// Endpoints are the addresses of an authorization server.
type Endpoints struct {
	// AuthURL is where users grant access, TokenURL where tokens are got.
	AuthURL, TokenURL string
	// RevokeURL is where tokens are revoked (RFC 7009). Empty means that the upstream can't revoke; only the stored tokens are dropped then.
	RevokeURL string
	// Issuer is how the server names itself; when it sends its name along with a code (RFC 9207), the two must be the same. Empty checks nothing.
	Issuer string
	// SendsIssuer says that the server always names itself: its metadata have authorization_response_iss_parameter_supported.
	// A callback without its name is refused then.
	SendsIssuer bool
}

// Client is the application as the upstream knows it.
type Client struct {
	ID string
	// Secret is empty for a public client, which PKCE protects.
	Secret string
	// SecretInBody sends id and secret as parameters, for upstreams that don't take them in the Authorization header, as RFC 6749 section 2.3.1 wants them to. Which of
	// the two it is must be said: trying both would send a refresh token twice.
	SecretInBody bool
}

// Format hides the secret from every verb of fmt.
func (c Client) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "client(%s, ***)", c.ID) }

// AuthorizationCode is the flow in which a user grants access in a browser (RFC 6749 section 4.1), with PKCE (RFC 7636) and rotating or lasting
// refresh tokens. To embed.
type AuthorizationCode struct {
	Endpoints
	// Hosts are where the access token is sent, such as api.example.com: see [contracts.HostNamer]. The hosts of URLs among
	// the integration's metadata are added. With neither, the provider implements [contracts.Authenticator].
	Hosts []string
	// Scopes are what is asked for.
	Scopes []string
	// Params are further parameters of the authorization request, such as access_type=offline.
	Params map[string]string
	// Client is the application; nil takes the integration's credentials client_id and client_secret.
	Client func(*contracts.Integration) (Client, error)
	// At gives the addresses of upstreams that have one for each customer; nil takes Endpoints.
	At func(*contracts.Integration) (Endpoints, error)
	// Threshold is how long before its expiry a token is refreshed; 0 means [contracts.DefaultRefreshThreshold].
	Threshold time.Duration
}

var (
	_ contracts.OAuth2               = AuthorizationCode{}
	_ contracts.OAuth2Issuer         = AuthorizationCode{}
	_ contracts.OAuth2IssuerRequirer = AuthorizationCode{}
	_ contracts.HostNamer            = AuthorizationCode{}
	_ contracts.OAuth2HostNamer      = AuthorizationCode{}
	_ contracts.OAuth2               = ClientCredentials{}
	_ contracts.HostNamer            = ClientCredentials{}
	_ contracts.OAuth2HostNamer      = ClientCredentials{}
	_ contracts.UnattendedGranter    = ClientCredentials{}
)

// AuthorizationURL is where the user is sent.
func (a AuthorizationCode) AuthorizationURL(ctx context.Context, in *contracts.Integration, redirectURI, state string) (string, error) {
	client, endpoints, err := a.party(in)
	if err != nil {
		return "", err
	}
	if endpoints.AuthURL == "" {
		return "", errors.New("the provider declares no AuthURL")
	}
	config := oauth2.Config{
		ClientID: client.ID, RedirectURL: redirectURI, Scopes: a.Scopes, Endpoint: oauth2.Endpoint{AuthURL: endpoints.AuthURL},
	}
	var opts []oauth2.AuthCodeOption
	if verifier, ok := contracts.PKCEVerifierFrom(ctx); ok {
		opts = append(opts, oauth2.S256ChallengeOption(verifier))
	}
	for name, value := range a.Params {
		opts = append(opts, oauth2.SetAuthURLParam(name, value))
	}
	return config.AuthCodeURL(state, opts...), nil
}

// ExchangeCode turns a code into a token.
func (a AuthorizationCode) ExchangeCode(ctx context.Context, in *contracts.Integration, code, redirectURI string) (contracts.Token, error) {
	client, endpoints, err := a.party(in)
	if err != nil {
		return contracts.Token{}, err
	}
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirectURI}}
	if verifier, ok := contracts.PKCEVerifierFrom(ctx); ok {
		form.Set("code_verifier", verifier)
	}
	return client.token(ctx, in, endpoints.TokenURL, form)
}

// RefreshToken gets a new token for the stored refresh token, which is sent once. The error is [contracts.Permanent] when the
// grant has ended. What an answer holds of tokens comes with the error, too.
func (a AuthorizationCode) RefreshToken(ctx context.Context, in *contracts.Integration) (contracts.Token, error) {
	client, endpoints, err := a.party(in)
	if err != nil {
		return contracts.Token{}, err
	}
	stored, err := storedTokens(in)
	if err != nil {
		return contracts.Token{}, err
	}
	if stored.Refresh == "" {
		return contracts.Token{}, contracts.Permanent(ErrNoRefreshToken)
	}
	token, err := client.token(ctx, in, endpoints.TokenURL, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {stored.Refresh}})
	if ended(err) {
		return contracts.Token{}, contracts.Permanent(err)
	}
	return token, err
}

// RevokeToken ends the grant (RFC 7009): with its refresh token where there is one, which ends the access tokens too. It does nothing where there is nothing to revoke, or nowhere.
func (a AuthorizationCode) RevokeToken(ctx context.Context, in *contracts.Integration) error {
	client, endpoints, err := a.party(in)
	if err != nil {
		return err
	}
	return revoke(ctx, in, endpoints.RevokeURL, client)
}

// RefreshThreshold is the Threshold.
func (a AuthorizationCode) RefreshThreshold() time.Duration { return a.Threshold }

// OAuth2Issuer is the issuer that the endpoints name.
func (a AuthorizationCode) OAuth2Issuer(in *contracts.Integration) (string, error) {
	endpoints, err := a.endpoints(in)
	return endpoints.Issuer, err
}

// RequiresOAuth2Issuer is what SendsIssuer of the endpoints says.
func (a AuthorizationCode) RequiresOAuth2Issuer(in *contracts.Integration) (bool, error) {
	endpoints, err := a.endpoints(in)
	return endpoints.SendsIssuer && endpoints.Issuer != "", err
}

// CredentialHosts are the Hosts, and those of URLs among the metadata; none when there are no Hosts.
func (a AuthorizationCode) CredentialHosts(in *contracts.Integration) ([]string, error) {
	return hostsWithMetadata(a.Hosts, in)
}

// OAuth2Hosts are the hosts of the endpoints that secrets are sent to.
func (a AuthorizationCode) OAuth2Hosts(in *contracts.Integration) ([]string, error) {
	endpoints, err := a.endpoints(in)
	return endpoints.hosts(), err
}

func (a AuthorizationCode) endpoints(in *contracts.Integration) (Endpoints, error) {
	if a.At == nil {
		return a.Endpoints, nil
	}
	return a.At(in)
}

// party is the application and the authorization server of an integration.
func (a AuthorizationCode) party(in *contracts.Integration) (Client, Endpoints, error) {
	endpoints, err := a.endpoints(in)
	if err != nil {
		return Client{}, Endpoints{}, fmt.Errorf("find the authorization server of %q: %w", in.Name(), err)
	}
	client, err := clientOf(a.Client, in)
	return client, endpoints, err
}

// style never leaves it to the library to find out, which it does by sending the request twice.
func (c Client) style() oauth2.AuthStyle {
	if c.SecretInBody || c.Secret == "" {
		return oauth2.AuthStyleInParams
	}
	return oauth2.AuthStyleInHeader
}

func clientOf(declared func(*contracts.Integration) (Client, error), in *contracts.Integration) (Client, error) {
	if declared == nil {
		declared = fromCredentials
	}
	client, err := declared(in)
	if err != nil {
		return Client{}, fmt.Errorf("find the OAuth client of %q: %w", in.Name(), err)
	}
	if client.ID == "" {
		return Client{}, fmt.Errorf("integration %q has no OAuth client: its client id is empty", in.Name())
	}
	return client, nil
}

func fromCredentials(in *contracts.Integration) (Client, error) {
	stored, err := contracts.CredentialsOf[struct {
		ID     string `json:"client_id"`
		Secret string `json:"client_secret"`
	}](in)
	return Client{ID: stored.ID, Secret: stored.Secret}, err
}

// tokens are what an integration's credentials hold of a [contracts.Token].
type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
}

func storedTokens(in *contracts.Integration) (tokens, error) {
	return contracts.CredentialsOf[tokens](in)
}

func hostsWithMetadata(hosts []string, in *contracts.Integration) ([]string, error) {
	if len(hosts) == 0 {
		return nil, nil
	}
	more, err := contracts.MetadataHosts(in)
	return slices.Concat(hosts, more), err
}

// hosts are where secrets are sent.
func (e Endpoints) hosts() []string {
	var hosts []string
	for _, address := range []string{e.TokenURL, e.RevokeURL} {
		if u, err := url.Parse(address); err == nil && u.Host != "" {
			hosts = append(hosts, u.Scheme+"://"+u.Host)
		}
	}
	return hosts
}

// hostOf names a server in errors, without what its address may carry.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "the authorization server"
	}
	return u.Host
}
