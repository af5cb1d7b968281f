package foreign_test

import (
	"testing"

	"github.com/tributaryhq/tributary/internal/foreign"
)

func TestSecretName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"Authorization", "Proxy-Authorization", "X-Auth", "X-Auth-Key", "authUser", "X-Authentication", "Cookie", "Set-Cookie", "X-Api-Key", "api_key", "apikey",
		"X-Jwt", "x_jwt_payload", "userJwt", "X-Passphrase", "X-Shared-Key", "X-Pin", "pin", "user_pin", "X-Otp", "X-TOTP", "X-Passcode", "X-Bearer", "X-Pwd", "pass",
		"X-Hub-Signature-256", "X-Shopify-Hmac-Sha256", "sig", "X-Sig", "X-Gitlab-Token", "access_token", "client_secret", "code", "code_verifier", "key", "X-Session",
		"X-Amz-Access-Key-Id", "card[pin]", "a.pass",
	} {
		if !foreign.SecretName(name) {
			t.Errorf("%s is shown", name)
		}
	}
	for _, name := range []string{
		"Content-Type", "X-Author", "X-Authority", "pinned", "spinning", "X-Shipping", "opinion", "passenger", "compass", "status_code", "country_code", "X-Request-Id",
		"Idempotency-Key", "X-Idempotency-Key", "signal", "X-GitHub-Event", "design", "significant", "X-Keyboard", "", "-", "é",
	} {
		if foreign.SecretName(name) {
			t.Errorf("%s is hidden", name)
		}
	}
}
