// Package providertest is for the tests of providers: an integration without a platform, a session that records, and the suite that every
// provider must pass, [Run]. Package upstream, below it, is a server to test against.
//
//	func TestProvider(t *testing.T) {
//		server := httptest.NewServer(notes) // an upstream of your own
//		defer server.Close()
//		providertest.Run(t, providertest.Suite{
//			Provider: acme.Provider{}, Key: "acme",
//			Credentials: acme.Credentials{Token: "a-token"}, Metadata: acme.Metadata{BaseURL: server.URL},
//		})
//	}
package providertest

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"testing"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// Integration is an integration of a provider as the runtime would give it: its client sends every request, redirects included, through the provider's
// Authenticate, and its log goes to the test. Credentials and metadata are any values that encode to JSON objects; base is the client to build on,
// nil for [http.DefaultTransport].
func Integration(t testing.TB, provider contracts.Provider, credentials, metadata any, base *http.Client) *contracts.Integration {
	t.Helper()
	return integration(t, provider, credentials, metadata, base, slog.New(slog.NewTextHandler(testWriter{t}, nil)))
}

func integration(t testing.TB, provider contracts.Provider, credentials, metadata any, base *http.Client, log *slog.Logger) *contracts.Integration {
	t.Helper()
	own := http.Client{}
	if base != nil {
		own = *base
	}
	transport := &transport{base: own.Transport, provider: provider}
	if transport.base == nil {
		transport.base = http.DefaultTransport
	}
	own.Transport = transport
	in := contracts.NewIntegration(contracts.IntegrationFields{
		ID: "01930000-0000-7000-8000-000000000001", Provider: "test", Name: "test", Owner: "tester",
		Credentials: encode(t, credentials), Metadata: encode(t, metadata), Client: &own, Mappings: NewMappings(), Log: log,
	})
	transport.in = in
	return in
}

func encode(t testing.TB, value any) json.RawMessage {
	t.Helper()
	raw, err := json.Marshal(value)
	if err != nil {
		t.Fatalf("encode %T: %v", value, err)
	}
	if string(raw) == "null" {
		return nil
	}
	return raw
}

// transport authenticates as the runtime does.
type transport struct {
	base     http.RoundTripper
	provider contracts.Provider
	in       *contracts.Integration
}

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if a, ok := t.provider.(contracts.Authenticator); ok {
		req = req.Clone(req.Context())
		if err := a.Authenticate(t.in, req); err != nil {
			return nil, fmt.Errorf("authenticate: %w", err)
		}
	}
	return t.base.RoundTrip(req)
}

// testWriter writes a log to a test.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Helper()
	w.t.Log(string(p[:max(len(p)-1, 0)]))
	return len(p), nil
}
