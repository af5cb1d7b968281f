package providertest

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// What the suite's authorization server gives, and what the integration has from before. The life is none that upstreams have, so that a constant is seen.
const (
	grantedCode    = "the-code-of-the-suite"
	storedAccess   = "the-access-token-from-before"
	storedRefresh  = "the-refresh-token-from-before"
	nextAccess     = "the-access-token-that-is-granted"
	nextRefresh    = "the-refresh-token-that-is-granted"
	nextLife       = 47 * time.Minute
	lifeTolerance  = 10 * time.Minute
	grantRedirect  = "https://tributary.example/oauth/callback?of=a b"
	grantVerifier  = "a-verifier-of-the-length-that-the-standard-asks-for"
	methodExchange = "ExchangeCode"
	methodRefresh  = "RefreshToken"
	methodRevoke   = "RevokeToken"
)

// flow is an OAuth flow under test. The suite stands for its authorization server.
type flow struct {
	*kit
	provider contracts.OAuth2
	// given counts the access tokens, so that each is another one.
	given int
}

// grant is a method of a flow that returns a token.
type grant func(context.Context, *contracts.Integration) (contracts.Token, error)

// tokens checks what a flow makes of the answers of a token endpoint.
func (k *kit) tokens(t *testing.T, provider contracts.OAuth2) {
	f := &flow{kit: k, provider: provider}
	revoke := func(ctx context.Context, in *contracts.Integration) (contracts.Token, error) {
		return contracts.Token{}, provider.RevokeToken(ctx, in)
	}
	f.refused(t, methodRefresh, provider.RefreshToken)
	f.revoked(t, revoke)
	f.hanging(t, methodRefresh, provider.RefreshToken)
	f.hanging(t, methodRevoke, revoke)
	if _, unattended := provider.(contracts.UnattendedGranter); unattended {
		f.granted(t, methodRefresh, nextRefresh, provider.RefreshToken)
		return
	}
	f.exchanges(t)
	f.refreshes(t)
}

func (f *flow) exchanges(t *testing.T) {
	exchange := func(ctx context.Context, in *contracts.Integration) (contracts.Token, error) {
		return f.provider.ExchangeCode(ctx, in, grantedCode, grantRedirect)
	}
	f.refused(t, methodExchange, exchange)
	f.hanging(t, methodExchange, exchange)
	token, requests := f.granted(t, methodExchange, nextRefresh, exchange)
	if token.RefreshToken != nextRefresh {
		t.Error("ExchangeCode loses the refresh token: the user has to authorize again when the access token ends")
	}
	if n := timesSent(requests, grantedCode); n != 1 {
		t.Errorf("ExchangeCode sends the code %d times, want once", n)
	}
	f.form(t, methodExchange, requests, map[string]string{"grant_type": "authorization_code", "redirect_uri": grantRedirect})
	f.verifier(t, requests)
}

func (f *flow) refreshes(t *testing.T) {
	refresh := f.provider.RefreshToken
	token, requests := f.granted(t, methodRefresh, nextRefresh, refresh)
	if token.RefreshToken != nextRefresh {
		t.Error("RefreshToken loses the refresh token that the upstream has given instead of the old one, which is spent")
	}
	if n := timesSent(requests, storedRefresh); n != 1 {
		t.Errorf("RefreshToken sends the refresh token %d times, want once: the second use would be taken for a theft", n)
	}
	f.form(t, methodRefresh, requests, map[string]string{"grant_type": "refresh_token"})
	if token, _ = f.granted(t, methodRefresh, "", refresh); token.RefreshToken != "" && token.RefreshToken != storedRefresh {
		t.Error("RefreshToken returns a refresh token that nobody has given")
	}
	if _, _, err := f.ask(t, methodRefresh, answering(http.StatusBadRequest, `{"error":"invalid_grant"}`), refresh); !contracts.IsPermanent(err) {
		t.Errorf("RefreshToken reports that the grant has ended (invalid_grant) as %v; want a permanent error, by which the user is asked again", err)
	}
	f.withoutRefreshToken(t)
	f.incomplete(t)
}

// granted checks a token that the server gives.
func (f *flow) granted(t *testing.T, method, refresh string, call grant) (contracts.Token, []sent) {
	t.Helper()
	f.given++
	access, began := fmt.Sprint(nextAccess, "-", f.given), time.Now()
	token, requests, err := f.ask(t, method, f.answer(access, refresh), call)
	if err != nil {
		t.Errorf("%s, when the upstream gives a token: %v", method, err)
		return token, requests
	}
	if token.AccessToken != access {
		t.Errorf("%s does not return the access token that the upstream gives in this answer", method)
	}
	if token.ExpiresAt == nil {
		t.Errorf("%s loses when the token ends: it would not be refreshed ahead of time", method)
	} else if life := token.ExpiresAt.Sub(began); (life - nextLife).Abs() > lifeTolerance {
		t.Errorf("%s says that a token of %s ends in %s: is it a constant, or read in the wrong unit?", method, nextLife, life)
	}
	f.named(t, method, requests)
	return token, requests
}

// answer is what the token endpoint answers with a token.
func (f *flow) answer(access, refresh string) *answerer {
	if f.TokenAnswer != nil {
		return answering(http.StatusOK, f.TokenAnswer(access, refresh, nextLife))
	}
	given := ""
	if refresh != "" {
		given = fmt.Sprintf(`"refresh_token":%q,`, refresh)
	}
	return answering(http.StatusOK, fmt.Sprintf(`{"access_token":%q,%s"token_type":"Bearer","expires_in":%d}`, access, given, int(nextLife.Seconds())))
}
