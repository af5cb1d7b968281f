package providertest

import (
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// oauth checks the address to which a user is sent.
func (k *kit) oauth(t *testing.T, provider contracts.OAuth2) {
	if _, unattended := provider.(contracts.UnattendedGranter); unattended {
		return
	}
	const state = "a+state/with=signs"
	ctx := contracts.WithPKCEVerifier(k.context(t), grantVerifier)
	var address string
	err := k.guarded(t, "AuthorizationURL", func() (err error) {
		address, err = provider.AuthorizationURL(ctx, k.integration(t, nil), grantRedirect, state)
		return err
	})
	if err != nil {
		t.Errorf("AuthorizationURL: %v", err)
		return
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		t.Errorf("AuthorizationURL returns %q, which is no address (%v)", address, err)
		return
	}
	query := u.Query()
	if got := query.Get("state"); got != state {
		t.Errorf("the authorization address has the state %q, not %q as given: every callback would be refused", got, state)
	}
	if got := query.Get("redirect_uri"); got != grantRedirect {
		t.Errorf("the authorization address has the redirect_uri %q, not %q as given", got, grantRedirect)
	}
	sum := sha256.Sum256([]byte(grantVerifier))
	if got, want := query.Get("code_challenge"), base64.RawURLEncoding.EncodeToString(sum[:]); got != "" && got != want {
		t.Errorf("the authorization address has the code_challenge %q, not the S256 challenge %q of the verifier", got, want)
	}
	if method := query.Get("code_challenge_method"); query.Has("code_challenge") && method != "S256" {
		t.Errorf("the authorization address has the code_challenge_method %q, not \"S256\": without it the challenge is taken for the verifier itself", method)
	}
	if k.TokenAnswer == nil && !strings.Contains(query.Get("response_type"), "code") {
		t.Errorf("the authorization address has the response_type %q, not \"code\": the upstream would give no code", query.Get("response_type"))
	}
	if !slices.ContainsFunc([]string{"client_id", "client_key", "app_id", "appid"}, func(name string) bool { return query.Get(name) != "" }) {
		t.Error("the authorization address has no client_id: the upstream does not know who asks")
	}
	if query.Has("code_verifier") || query.Has("client_secret") {
		t.Error("the authorization address, which every browser keeps, holds a secret: code_verifier or client_secret")
	}
}
