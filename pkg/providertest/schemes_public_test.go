package providertest_test

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/providertest"
)

// sender is what an integration knows of an upstream that signs with a key of its own.
type sender struct {
	PublicKey string `json:"public_key" validate:"required"`
}

// keyholder is a provider whose integrations have the sender's public key, and no secret.
type keyholder struct {
	pusher
	contracts.TypedMetadata[sender]
	contracts.NoCredentials
}

func (keyholder) CredentialRules() contracts.Rules {
	return contracts.NoCredentials{}.CredentialRules()
}

func (keyholder) CredentialData() any { return contracts.NoCredentials{}.CredentialData() }

func (keyholder) MetadataRules() contracts.Rules {
	return contracts.TypedMetadata[sender]{}.MetadataRules()
}

func (keyholder) MetadataData() any { return contracts.TypedMetadata[sender]{}.MetadataData() }

func (keyholder) VerifyWebhookSignature(_ context.Context, in *contracts.Integration, req *contracts.WebhookRequest) error {
	metadata, err := contracts.MetadataOf[sender](in)
	if err != nil {
		return err
	}
	stamp := req.Header.Get("X-Timestamp")
	key, isKey := hex.DecodeString(metadata.PublicKey)
	signature, isSignature := hex.DecodeString(req.Header.Get("X-Signature"))
	at, isTime := time.Parse(time.RFC3339, stamp)
	if isKey != nil || isSignature != nil || isTime != nil || req.ReceivedAt.Sub(at).Abs() > time.Minute {
		return errors.New("not signed")
	}
	if !ed25519.Verify(key, append([]byte(stamp), req.Body...), signature) {
		return errors.New("the signature is wrong")
	}
	return nil
}

// TestAPublicKey has deliveries that are verified with a key that is no secret.
func TestAPublicKey(t *testing.T) {
	t.Parallel()
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	public, _ := key.Public().(ed25519.PublicKey)
	at := time.Date(2024, 2, 1, 0, 0, 0, 0, time.UTC)
	stamp, body := at.Format(time.RFC3339), []byte(`{"text":"changed"}`)
	providertest.Run(t, providertest.Suite{
		Provider: keyholder{}, Key: "keyholder", Metadata: sender{hex.EncodeToString(public)},
		Webhook: func(testing.TB) *contracts.WebhookRequest {
			return &contracts.WebhookRequest{Method: http.MethodPost, Path: "/", Body: body, ReceivedAt: at, Header: http.Header{
				"X-Timestamp": {stamp}, "X-Signature": {hex.EncodeToString(ed25519.Sign(key, append([]byte(stamp), body...)))},
			}}
		},
	})
}
