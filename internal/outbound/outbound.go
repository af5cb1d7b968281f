// Package outbound is the transport of every request to a third party: one http.RoundTripper for each concern, composed in [Chain]. Today these
// are the trace and the provider's authentication.
package outbound

import (
	"encoding/json"
	"fmt"
	"net/http"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// Chain composes the transport of one integration, outermost first: trace → auth → base.
func Chain(base http.RoundTripper, tracers trace.TracerProvider, provider contracts.Provider, in func() *contracts.Integration) http.RoundTripper {
	authenticated := &auth{base: base, provider: provider, integration: in}
	// No trace header leaves the house: an upstream has no use for it.
	return otelhttp.NewTransport(authenticated, otelhttp.WithTracerProvider(tracers),
		otelhttp.WithPropagators(propagation.NewCompositeTextMapPropagator()))
}

// auth lets the provider put its credentials on a request.
type auth struct {
	base        http.RoundTripper
	provider    contracts.Provider
	integration func() *contracts.Integration
}

func (a *auth) RoundTrip(req *http.Request) (*http.Response, error) {
	in := a.integration()
	switch provider := a.provider.(type) {
	case contracts.Authenticator:
		req = req.Clone(req.Context())
		if err := provider.Authenticate(in, req); err != nil {
			return nil, fmt.Errorf("authenticate %s %s: %w", req.Method, req.URL.Host, err)
		}
	case contracts.OAuth2:
		var token struct {
			AccessToken string `json:"access_token"`
		}
		if err := decodeCredentials(in, &token); err != nil {
			return nil, err
		}
		// A redirect keeps the request it answers in Response: then the host is not the one the caller chose.
		if token.AccessToken != "" && req.Response == nil {
			req = req.Clone(req.Context())
			req.Header.Set("Authorization", "Bearer "+token.AccessToken)
		}
	}
	return a.base.RoundTrip(req)
}

func decodeCredentials(in *contracts.Integration, into any) error {
	values, err := in.Credentials()
	if err != nil {
		return err
	}
	raw, err := json.Marshal(values)
	if err != nil {
		return fmt.Errorf("encode credentials of %q", in.Name())
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("credentials of %q do not fit", in.Name())
	}
	return nil
}
