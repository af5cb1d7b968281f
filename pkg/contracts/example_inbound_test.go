package contracts_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// Pushes is a provider whose upstream signs its deliveries.
type Pushes struct {
	contracts.NoMetadata
	contracts.TypedCredentials[PushCredentials]
	contracts.WebhookDefaults
}

// PushCredentials hold the secret that both sides know.
type PushCredentials struct {
	Secret string `json:"secret" validate:"required"`
}

func (Pushes) Name() string { return "Pushes" }

func (Pushes) VerifyWebhookSignature(_ context.Context, in *contracts.Integration,
	req *contracts.WebhookRequest,
) error {
	credentials, err := contracts.CredentialsOf[PushCredentials](in)
	if err != nil {
		return err
	}
	signature, err := hex.DecodeString(req.Header.Get("X-Signature"))
	if err != nil || !hmac.Equal(signature, sign(credentials.Secret, req.Body)) {
		return errors.New("the signature does not match")
	}
	return nil
}

func (Pushes) ResolveWebhookEvent(req *contracts.WebhookRequest) (string, bool) {
	event := req.Header.Get("X-Event")
	return event, event != ""
}

func (Pushes) WebhookHandlers() map[string]contracts.WebhookFunc {
	return map[string]contracts.WebhookFunc{
		"note.deleted": func(_ context.Context, in *contracts.Integration, _ *contracts.WebhookRequest) (any, error) {
			return "deleted in " + in.Name(), nil
		},
	}
}

func (Pushes) HandleWebhook(_ context.Context, in *contracts.Integration, _ *contracts.WebhookRequest) (any, error) {
	return "handled in " + in.Name(), nil
}

func sign(secret string, body []byte) []byte {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return mac.Sum(nil)
}

func ExampleWebhookHandler() {
	var handler contracts.WebhookHandler = Pushes{}
	in := contracts.NewIntegration(contracts.IntegrationFields{
		Name:        "kitchen",
		Credentials: json.RawMessage(`{"secret":"s3"}`),
	})
	body := []byte(`{"id":"n1"}`)
	req := &contracts.WebhookRequest{
		Method: http.MethodPost, Path: "/pushes/webhook", Body: body, ReceivedAt: time.Unix(1709280000, 0),
		Header: http.Header{"X-Signature": {hex.EncodeToString(sign("s3", body))}, "X-Event": {"note.deleted"}},
	}
	fmt.Println("signature:", handler.VerifyWebhookSignature(context.Background(), in, req))
	event, _ := handler.ResolveWebhookEvent(req)
	result, err := handler.WebhookHandlers()[event](context.Background(), in, req)
	fmt.Println(event+":", result, err)

	req.Body = []byte(`{"id":"n2"}`)
	fmt.Println("tampered:", handler.VerifyWebhookSignature(context.Background(), in, req))
	// Output:
	// signature: <nil>
	// note.deleted: deleted in kitchen <nil>
	// tampered: the signature does not match
}

// Granted writes the OAuth2 flow by hand.
type Granted struct {
	contracts.NoCredentials
	contracts.NoMetadata
	contracts.OAuth2Defaults
}

func (Granted) Name() string { return "Granted" }

func (Granted) AuthorizationURL(ctx context.Context, _ *contracts.Integration, redirectURI, state string) (string,
	error,
) {
	query := url.Values{"redirect_uri": {redirectURI}, "state": {state}}
	if verifier, ok := contracts.PKCEVerifierFrom(ctx); ok {
		challenge := sha256.Sum256([]byte(verifier))
		query.Set("code_challenge", base64.RawURLEncoding.EncodeToString(challenge[:]))
		query.Set("code_challenge_method", "S256")
	}
	return "https://auth.example/authorize?" + query.Encode(), nil
}

func (Granted) ExchangeCode(ctx context.Context, _ *contracts.Integration, code, _ string) (contracts.Token, error) {
	verifier, _ := contracts.PKCEVerifierFrom(ctx)
	if code == "" || verifier == "" {
		return contracts.Token{}, contracts.Permanent(errors.New("invalid_grant"))
	}
	expires := time.Date(2024, 3, 1, 10, 0, 0, 0, time.UTC)
	return contracts.Token{AccessToken: "at", RefreshToken: "rt", ExpiresAt: &expires}, nil
}

func (Granted) RefreshToken(context.Context, *contracts.Integration) (contracts.Token, error) {
	// The upstream keeps the refresh token: it is left out, and the stored one stays.
	return contracts.Token{AccessToken: "at-2"}, nil
}

func (Granted) RevokeToken(context.Context, *contracts.Integration) error { return nil }

func ExampleOAuth2() {
	var flow contracts.OAuth2 = Granted{}
	in := contracts.NewIntegration(contracts.IntegrationFields{Name: "kitchen"})
	ctx := contracts.WithPKCEVerifier(context.Background(), "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")

	location, err := flow.AuthorizationURL(ctx, in, "https://app.example/callback", "st4te")
	fmt.Println(location, err)
	token, err := flow.ExchangeCode(ctx, in, "c0de", "https://app.example/callback")
	fmt.Println(token, err)
	refreshed, err := flow.RefreshToken(ctx, in)
	stored, _ := json.Marshal(refreshed)
	fmt.Println(string(stored), err)
	fmt.Println(flow.RefreshThreshold(), contracts.DefaultRefreshThreshold)
	// Output:
	// https://auth.example/authorize?code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256&redirect_uri=https%3A%2F%2Fapp.example%2Fcallback&state=st4te <nil>
	// token(***, expires 2024-03-01T10:00:00Z) <nil>
	// {"access_token":"at-2","token_expires_at":null} <nil>
	// 0s 5m0s
}
