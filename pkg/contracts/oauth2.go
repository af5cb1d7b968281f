package contracts

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"
)

// DefaultRefreshThreshold is how long before its expiry a token is refreshed when [OAuth2.RefreshThreshold] is 0.
const DefaultRefreshThreshold = 300 * time.Second

// Token is what an upstream grants. It is merged over the integration's credentials under the JSON names of its fields;
// credentials of other names stay as they are. It never prints its secrets.
type Token struct {
	// AccessToken is required.
	AccessToken string `json:"access_token"`
	// RefreshToken replaces the stored one; when it is empty, the stored one is kept.
	RefreshToken string `json:"refresh_token,omitempty"`
	// ExpiresAt is when the access token ends, on the clock of the process that got it, as in time.Now().Add(life); nil
	// means never or unknown, and such a token is not refreshed ahead of time. A stored expiry never outlives its
	// token: nil removes it.
	ExpiresAt *time.Time `json:"token_expires_at"`
}

// Format prints the same for every verb: that there is a token, and when it ends.
func (t Token) Format(f fmt.State, _ rune) {
	text := "token(***)"
	if t.ExpiresAt != nil {
		text = "token(***, expires " + t.ExpiresAt.UTC().Format(time.RFC3339) + ")"
	}
	// A fmt.State reports its errors where the printing was asked for.
	_, _ = io.WriteString(f, text)
}

// LogValue is what slog writes of a token, whatever the handler.
func (t Token) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(t)) }

// OAuth2 is implemented by providers whose users grant access in a browser. Package pkg/oauth2 has a ready-made value
// to embed; embed [OAuth2Defaults] when writing the flow by hand.
//
// The PKCE verifier of a flow travels in the context of AuthorizationURL and ExchangeCode: see [PKCEVerifierFrom]. In
// these methods [Integration.HTTP] neither authenticates nor repeats a request.
type OAuth2 interface {
	// AuthorizationURL is where the user is sent to grant access. It contains the state and the redirect URI exactly as
	// given, and the challenge of the PKCE verifier where the upstream supports PKCE.
	AuthorizationURL(ctx context.Context, in *Integration, redirectURI, state string) (string, error)
	// ExchangeCode turns the code that came to the redirect URI into a token. It is called once for a code.
	ExchangeCode(ctx context.Context, in *Integration, code, redirectURI string) (Token, error)
	// RefreshToken gets a new token with the refresh token among the integration's credentials, which it sends once: an
	// upstream that rotates refresh tokens takes a second use for a theft. A grant that the upstream has ended is
	// [Permanent]: the user must authorize again. A token that is returned with another error is no good, but its
	// refresh token is kept, for the old one may be spent.
	RefreshToken(ctx context.Context, in *Integration) (Token, error)
	// RevokeToken ends the grant at the upstream. The stored tokens are dropped only when it returns nil.
	RevokeToken(ctx context.Context, in *Integration) error
	// RefreshThreshold is how long before its expiry a token is refreshed. 0 means [DefaultRefreshThreshold]; less is
	// refused at start-up. It is asked when a process starts.
	RefreshThreshold() time.Duration
}

// OAuth2Issuer is implemented beside [OAuth2] where the authorization server may name itself along with a code (RFC
// 9207). A callback from another issuer than this one is refused: its code was meant for somebody else.
type OAuth2Issuer interface {
	// OAuth2Issuer is the server's issuer identifier, exactly as it names itself; empty checks nothing.
	OAuth2Issuer(in *Integration) (string, error)
}

// OAuth2HostNamer is implemented beside [OAuth2] to tell where client secrets, codes and refresh tokens are sent. The
// flows of pkg/oauth2 implement it. A change of metadata that moves these hosts is refused like one that moves those of
// [HostNamer].
type OAuth2HostNamer interface {
	// OAuth2Hosts are the hosts of the authorization server, in the form of [HostNamer].
	OAuth2Hosts(in *Integration) ([]string, error)
}

// OAuth2IssuerRequirer is implemented beside [OAuth2Issuer] where it is known whether the authorization server always
// names itself.
type OAuth2IssuerRequirer interface {
	// RequiresOAuth2Issuer reports whether a callback that names no issuer is refused.
	RequiresOAuth2Issuer(in *Integration) (bool, error)
}

// UnattendedGranter marks an [OAuth2] provider whose RefreshToken needs neither a user nor a refresh token, as with the
// client credentials grant. Its tokens are got when they are first needed, and nobody is ever asked to authorize.
type UnattendedGranter interface {
	// GrantsUnattended does nothing; having it is the mark.
	GrantsUnattended()
}

// OAuth2Defaults is embedded by a hand-written [OAuth2] that has no refresh threshold of its own.
type OAuth2Defaults struct{}

// RefreshThreshold is 0: [DefaultRefreshThreshold].
func (OAuth2Defaults) RefreshThreshold() time.Duration { return 0 }

type pkceKey struct{}

// WithPKCEVerifier returns a context that carries the PKCE code verifier (RFC 7636) of one authorization flow. The
// runtime calls it, with the same verifier, before AuthorizationURL and before ExchangeCode.
func WithPKCEVerifier(ctx context.Context, verifier string) context.Context {
	return context.WithValue(ctx, pkceKey{}, verifier)
}

// PKCEVerifierFrom returns the flow's PKCE code verifier, and false when the flow has none. AuthorizationURL sends its
// S256 challenge, ExchangeCode the verifier itself.
func PKCEVerifierFrom(ctx context.Context) (string, bool) {
	verifier, _ := ctx.Value(pkceKey{}).(string)
	return verifier, verifier != ""
}
