// Package sdks drives two vendors' own SDKs, go-github and stripe-go, through [contracts.Integration.HTTP]. They are used as they come: neither knows
// that its requests are signed, budgeted, retried, recorded and redacted.
package sdks

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	gogithub "github.com/google/go-github/v75/github"
	"github.com/stripe/stripe-go/v82"

	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/providers/github"
)

// GitHub is go-github on behalf of an integration of the provider github.
func GitHub(in *contracts.Integration) (*gogithub.Client, error) {
	metadata, err := contracts.MetadataOf[github.Metadata](in)
	if err != nil {
		return nil, err
	}
	client := gogithub.NewClient(in.HTTP())
	if metadata.BaseURL != "" {
		if client.BaseURL, err = url.Parse(metadata.BaseURL + "/"); err != nil {
			return nil, fmt.Errorf("base url: %w", err)
		}
	}
	// The platform knows the budget, for all processes; this one's own memory of it would refuse with errors that are no deferrals.
	client.DisableRateLimitCheck = true
	return client, nil
}

// StripeCredentials are the secrets of a Stripe account.
type StripeCredentials struct {
	SecretKey string `json:"secret_key" validate:"required,min=8"`
}

// StripeMetadata says where Stripe is; empty for the real one.
type StripeMetadata struct {
	BaseURL string `json:"base_url,omitempty" validate:"omitempty,http_url"`
}

// StripeProvider is what the platform has to know of Stripe for stripe-go to be guarded: how requests are signed and limited, that keys are recognised, and
// what is secret. It syncs nothing.
type StripeProvider struct {
	contracts.TypedCredentials[StripeCredentials]
	contracts.TypedMetadata[StripeMetadata]
}

func (StripeProvider) Name() string { return "Stripe" }

// SupportsIdempotency says that Stripe does once what is asked for several times with one key.
func (StripeProvider) SupportsIdempotency() {}

// RateLimit is Stripe's own: 100 requests a second.
func (StripeProvider) RateLimit() *contracts.RateLimit { return contracts.Per(100, time.Second) }

func (StripeProvider) SensitiveRequestFields() []string { return []string{"email", "metadata.*"} }

func (StripeProvider) SensitiveResponseFields() []string {
	return []string{"email", "data.*.email", "client_secret"}
}

// Authenticate signs requests to Stripe, and leaves those to anybody else alone.
func (StripeProvider) Authenticate(in *contracts.Integration, req *http.Request) error {
	metadata, err := contracts.MetadataOf[StripeMetadata](in)
	if err != nil {
		return err
	}
	base, err := url.Parse(metadata.base())
	if err != nil {
		return fmt.Errorf("base url: %w", err)
	}
	if req.URL.Scheme != base.Scheme || req.URL.Host != base.Host {
		return nil
	}
	credentials, err := contracts.CredentialsOf[StripeCredentials](in)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+credentials.SecretKey)
	return nil
}

func (m StripeMetadata) base() string {
	if m.BaseURL != "" {
		return m.BaseURL
	}
	return stripe.APIURL
}

// Stripe is stripe-go on behalf of an integration of [StripeProvider].
func Stripe(in *contracts.Integration) (*stripe.Client, error) {
	metadata, err := contracts.MetadataOf[StripeMetadata](in)
	if err != nil {
		return nil, err
	}
	backend := stripe.GetBackendWithConfig(stripe.APIBackend, &stripe.BackendConfig{
		HTTPClient: in.HTTP(),
		URL:        stripe.String(metadata.base()),
		// The platform retries; a second retry around it would multiply the attempts, and sleep where a deferral frees the worker.
		MaxNetworkRetries: stripe.Int64(0),
		LeveledLogger:     &stripe.LeveledLogger{Level: stripe.LevelNull},
	})
	// The platform puts the real key on each request.
	return stripe.NewClient("signed-by-tributary", stripe.WithBackends(&stripe.Backends{API: backend})), nil
}
