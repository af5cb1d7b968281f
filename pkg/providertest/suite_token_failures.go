package providertest

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// noToken is an answer of the token endpoint that holds no token.
type noToken struct {
	*answerer
	// passes says that the upstream may give one the next time, or when an operator has mended the client: the user can't help.
	passes bool
}

func (f *flow) noTokens() map[string]noToken {
	limited := answering(http.StatusTooManyRequests, "")
	limited.header = http.Header{"Retry-After": {"17"}}
	_, unattended := f.provider.(contracts.UnattendedGranter)
	token := f.answer(nextAccess, nextRefresh).body
	return map[string]noToken{
		"400":                     {answering(http.StatusBadRequest, `{"error":"invalid_grant"}`), false},
		"401 invalid_client":      {answering(http.StatusUnauthorized, `{"error":"invalid_client"}`), !unattended},
		"429":                     {limited, true},
		"500":                     {answering(http.StatusInternalServerError, ""), true},
		"an error under 200":      {answering(http.StatusOK, `{"error":"invalid_grant"}`), false},
		"an answer without one":   {answering(http.StatusOK, `{}`), false},
		"what is not JSON":        {answering(http.StatusOK, `<html>welcome to the hotel's network</html>`), true},
		"a connection refused":    {&answerer{fails: true}, true},
		"a token in a 500":        {answering(http.StatusInternalServerError, token), true},
		"a token in a refusal":    {answering(http.StatusForbidden, token), false},
		"the upstream's redirect": {&answerer{status: http.StatusFound, body: "{}", header: http.Header{"Location": {"https://elsewhere.example/login"}}}, false},
	}
}

// refused checks that whatever holds no token is an error, which of them may be gone the next time, and that what is good for one use is sent once.
func (f *flow) refused(t *testing.T, method string, call grant) {
	t.Helper()
	for name, answer := range f.noTokens() {
		_, requests, err := f.ask(t, method, answer.answerer, call)
		if err == nil {
			t.Errorf("%s takes %s for a token", method, name)
		}
		if answer.passes && method == methodRefresh && contracts.IsPermanent(err) {
			t.Errorf("%s: %s is reported as a permanent error, by which the user is asked to authorize again, but the grant is as good as before: %v",
				method, name, err)
		}
		for _, once := range []string{storedRefresh, grantedCode} {
			if n := timesSent(requests, once); n > 1 {
				t.Errorf("%s sends its refresh token or code %d times when the upstream answers with %s: the second use would be taken for a theft. "+
					"Return the error: the runtime tries again. (golang.org/x/oauth2 sends twice unless its AuthStyle is set)", method, n, name)
			}
		}
	}
}

// withoutRefreshToken wants the user asked again, and no request, where there is no refresh token.
func (f *flow) withoutRefreshToken(t *testing.T) {
	t.Helper()
	_, requests, err := f.askWith(t, methodRefresh, "", f.answer(nextAccess, nextRefresh), f.provider.RefreshToken)
	if len(requests) > 0 {
		t.Error("RefreshToken sends a request though no refresh token is stored")
	}
	if !contracts.IsPermanent(err) {
		t.Errorf("RefreshToken, when no refresh token is stored, returns %v; want a permanent error, by which the user is asked to authorize", err)
	}
}

// incomplete checks answers that RFC 6749 allows, or that a server gives by mistake when the old refresh token is spent already.
func (f *flow) incomplete(t *testing.T) {
	t.Helper()
	if f.TokenAnswer != nil {
		return
	}
	endless := answering(http.StatusOK, `{"access_token":"`+nextAccess+`","token_type":"Bearer"}`)
	token, _, err := f.ask(t, methodRefresh, endless, f.provider.RefreshToken)
	if err == nil && token.ExpiresAt != nil && time.Until(*token.ExpiresAt) < time.Minute {
		t.Error("RefreshToken says that a token has ended whose life the upstream does not name (no expires_in): leave ExpiresAt nil")
	}
	alone := answering(http.StatusOK, `{"refresh_token":"`+nextRefresh+`","token_type":"Bearer"}`)
	token, _, err = f.ask(t, methodRefresh, alone, f.provider.RefreshToken)
	// golang.org/x/oauth2 returns nothing of such an answer: what it has lost, its caller can't keep.
	if err != nil && token.RefreshToken != nextRefresh && !strings.Contains(err.Error(), "oauth2: server response missing access_token") {
		t.Error("RefreshToken loses the refresh token of an answer that has no access token: return it in the token beside the error, for the old one may be spent")
	}
}

// revoked checks that a grant which the upstream has not ended is not taken for ended.
func (f *flow) revoked(t *testing.T, revoke grant) {
	t.Helper()
	for name, answer := range map[string]*answerer{"500": answering(http.StatusInternalServerError, ""), "a connection refused": {fails: true}} {
		_, requests, err := f.ask(t, methodRevoke, answer, revoke)
		if len(requests) > 0 && err == nil {
			t.Errorf("RevokeToken returns nil when the upstream answers with %s: the stored tokens are dropped, and the grant stays open at the upstream. Return an error", name)
		}
	}
	_, requests, _ := f.ask(t, methodRevoke, answering(http.StatusOK, "{}"), revoke)
	if len(requests) == 0 {
		return
	}
	if timesSent(requests, storedRefresh)+timesSent(requests, storedAccess) == 0 {
		t.Error("RevokeToken sends a request that has neither the refresh token nor the access token: nothing is revoked")
	}
	f.named(t, methodRevoke, requests)
}

// hanging checks that a method ends with its context while the upstream does not answer.
func (f *flow) hanging(t *testing.T, method string, call grant) {
	t.Helper()
	if t.Failed() {
		return // it may take its time, and there is enough to mend
	}
	err, asked := f.hung(t, method, func(ctx context.Context, upstream http.RoundTripper) error {
		in, _ := f.authorized(t, storedRefresh, upstream)
		_, err := call(contracts.WithPKCEVerifier(ctx, grantVerifier), in)
		return err
	})
	f.checkError(t, err)
	if asked && (err == nil || contracts.IsPermanent(err)) {
		t.Errorf("%s, cancelled while the upstream hangs, returns %v; want the context's error", method, err)
	}
}

// noGrant fails when a text holds what only the upstream and the store should see.
func noGrant(t *testing.T, where, text string) {
	t.Helper()
	for _, secret := range []string{grantedCode, grantVerifier, storedAccess, storedRefresh, nextAccess, nextRefresh} {
		if strings.Contains(text, secret) {
			t.Errorf("%s holds a token, a code or a verifier", where)
			return
		}
	}
}
