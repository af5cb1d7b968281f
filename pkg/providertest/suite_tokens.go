package providertest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// What the suite's authorization server gives, and what the integration has from before.
const (
	grantedCode   = "the-code-of-the-suite"
	storedRefresh = "the-refresh-token-from-before"
	nextAccess    = "the-access-token-that-is-granted"
	nextRefresh   = "the-refresh-token-that-is-granted"
	nextLife      = time.Hour
)

// sent is a request to the authorization server.
type sent struct{ address, body string }

// tokens checks what a flow makes of the answers of a token endpoint, for which the suite stands.
func (k *kit) tokens(t *testing.T, provider contracts.OAuth2) {
	refresh := func(ctx context.Context, in *contracts.Integration) (contracts.Token, error) {
		return provider.RefreshToken(ctx, in)
	}
	k.refused(t, "RefreshToken", refresh)
	if _, unattended := provider.(contracts.UnattendedGranter); unattended {
		k.granted(t, "RefreshToken", k.answer(nextRefresh), refresh)
		return
	}
	exchange := func(ctx context.Context, in *contracts.Integration) (contracts.Token, error) {
		return provider.ExchangeCode(ctx, in, grantedCode, "https://tributary.example/oauth/callback")
	}
	k.refused(t, "ExchangeCode", exchange)
	token, requests := k.granted(t, "ExchangeCode", k.answer(nextRefresh), exchange)
	if token.RefreshToken != nextRefresh {
		t.Error("ExchangeCode loses the refresh token: the user has to authorize again when the access token ends")
	}
	if timesSent(requests, grantedCode) != 1 {
		t.Errorf("ExchangeCode sends the code %d times, want once", timesSent(requests, grantedCode))
	}
	token, requests = k.granted(t, "RefreshToken", k.answer(nextRefresh), refresh)
	if token.RefreshToken != nextRefresh {
		t.Error("RefreshToken loses the refresh token that the upstream has given instead of the old one, which is spent")
	}
	if timesSent(requests, storedRefresh) != 1 {
		t.Errorf("RefreshToken sends the refresh token %d times, want once: the second use would be taken for a theft", timesSent(requests, storedRefresh))
	}
	if token, _ = k.granted(t, "RefreshToken", k.answer(""), refresh); token.RefreshToken != "" && token.RefreshToken != storedRefresh {
		t.Error("RefreshToken returns a refresh token that nobody has given")
	}
	if _, _, err := k.ask(t, "RefreshToken", answering(http.StatusBadRequest, `{"error":"invalid_grant"}`), refresh); !contracts.IsPermanent(err) {
		t.Errorf("RefreshToken reports that the grant has ended (invalid_grant) as %v; want a permanent error, by which the user is asked again", err)
	}
}

// granted checks a token that the server gives.
func (k *kit) granted(t *testing.T, method string, answer *answerer, call grant) (contracts.Token, []sent) {
	t.Helper()
	began := time.Now()
	token, requests, err := k.ask(t, method, answer, call)
	if err != nil {
		t.Errorf("%s, when the upstream gives a token: %v", method, err)
		return token, requests
	}
	if token.AccessToken != nextAccess {
		t.Errorf("%s does not return the access token that the upstream gives", method)
	}
	if token.ExpiresAt == nil {
		t.Errorf("%s loses when the token ends: it would not be refreshed ahead of time", method)
	} else if life := token.ExpiresAt.Sub(began); life < nextLife/2 || life > 2*nextLife {
		t.Errorf("%s says that a token of %s ends in %s: is it read in the wrong unit?", method, nextLife, life)
	}
	return token, requests
}

// refused checks that whatever holds no token is an error, and which of them may be gone the next time.
func (k *kit) refused(t *testing.T, method string, call grant) {
	t.Helper()
	for name, answer := range map[string]*answerer{
		"400":                     answering(http.StatusBadRequest, `{"error":"invalid_grant"}`),
		"401":                     answering(http.StatusUnauthorized, `{"error":"invalid_client"}`),
		"500":                     answering(http.StatusInternalServerError, ""),
		"an error under 200":      answering(http.StatusOK, `{"error":"invalid_grant"}`),
		"an answer without one":   answering(http.StatusOK, `{}`),
		"what is not JSON":        answering(http.StatusOK, `<html>welcome to the hotel's network</html>`),
		"a connection refused":    {fails: true},
		"a token in a 500":        answering(http.StatusInternalServerError, k.answer(nextRefresh).body),
		"a token in a refusal":    answering(http.StatusForbidden, k.answer(nextRefresh).body),
		"the upstream's redirect": {status: http.StatusFound, body: "{}", header: http.Header{"Location": {"https://elsewhere.example/login"}}},
	} {
		_, _, err := k.ask(t, method, answer, call)
		if err == nil {
			t.Errorf("%s takes %s for a token", method, name)
		}
		if contracts.IsPermanent(err) && (name == "500" || answer.fails) {
			t.Errorf("%s: %s is reported as a permanent error, but the upstream may be well the next time: %v", method, name, err)
		}
	}
}

// grant is a method of a flow that returns a token.
type grant func(context.Context, *contracts.Integration) (contracts.Token, error)

// ask calls a method of a flow, which asks the suite. Addresses are kept by every server on their way: they may hold no secrets.
func (k *kit) ask(t *testing.T, method string, answer *answerer, call grant) (token contracts.Token, requests []sent, err error) {
	t.Helper()
	transport := transportFunc(func(req *http.Request) (*http.Response, error) {
		request := sent{address: req.URL.String()}
		if req.Body != nil {
			body, err := io.ReadAll(req.Body)
			if err != nil {
				return nil, err
			}
			request.body = string(body)
			_ = req.Body.Close()
		}
		requests = append(requests, request)
		return answer.RoundTrip(req)
	})
	err = k.guarded(t, method, func() (err error) {
		ctx := contracts.WithPKCEVerifier(k.context(t), "a-verifier-of-the-length-that-the-standard-asks-for")
		token, err = call(ctx, k.authorized(t, transport))
		return err
	})
	for _, request := range requests {
		k.noSecret(t, "the address that "+method+" sends its request to", withoutID(t, request.address, k.Credentials))
		if strings.Contains(request.address, storedRefresh) || strings.Contains(request.address, grantedCode) {
			t.Errorf("%s has the refresh token or the code in the address of its request, which every server on the way keeps", method)
		}
	}
	k.checkError(t, err)
	return token, requests, err
}

// authorized is the fixture's integration with tokens, over a client that, as in production, adds nothing to the requests of a flow.
func (k *kit) authorized(t *testing.T, transport http.RoundTripper) *contracts.Integration {
	t.Helper()
	credentials := map[string]any{}
	if raw := encode(t, k.Credentials); raw != nil {
		if err := json.Unmarshal(raw, &credentials); err != nil {
			t.Fatal(err)
		}
	}
	credentials["access_token"], credentials["refresh_token"], credentials["token_expires_at"] = "the-access-token-from-before", storedRefresh, time.Now()
	return contracts.NewIntegration(contracts.IntegrationFields{
		ID: "01930000-0000-7000-8000-000000000001", Provider: k.Key, Name: "test", Owner: "tester",
		Credentials: encode(t, credentials), Metadata: encode(t, k.Metadata), Client: &http.Client{Transport: transport}, Mappings: NewMappings(),
	})
}

// answer is what the token endpoint answers with a token.
func (k *kit) answer(refresh string) *answerer {
	if k.TokenAnswer != nil {
		return answering(http.StatusOK, k.TokenAnswer(nextAccess, refresh, nextLife))
	}
	given := ""
	if refresh != "" {
		given = fmt.Sprintf(`"refresh_token":%q,`, refresh)
	}
	return answering(http.StatusOK, fmt.Sprintf(`{"access_token":%q,%s"token_type":"Bearer","expires_in":%d}`, nextAccess, given, int(nextLife.Seconds())))
}

func timesSent(requests []sent, text string) (n int) {
	for _, request := range requests {
		n += strings.Count(request.address+" "+request.body, text)
	}
	return n
}

// withoutID is an address without the client's id, which is no secret.
func withoutID(t *testing.T, address string, credentials any) string {
	t.Helper()
	var fields map[string]any
	if raw := encode(t, credentials); raw == nil || json.Unmarshal(raw, &fields) != nil {
		return address
	}
	if id, _ := fields["client_id"].(string); id != "" {
		return strings.ReplaceAll(address, id, "")
	}
	return address
}
