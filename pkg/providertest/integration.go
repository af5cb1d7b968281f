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
	"log/slog"
	"net/http"
	"testing"

	"github.com/tributaryhq/tributary/internal/outbound"
	"github.com/tributaryhq/tributary/internal/redact"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// Integration is an integration of a provider as the runtime would give it. Its client is the platform's: requests carry the provider's
// credentials to the hosts that it names, also an OAuth2 provider's access token, and an answer that asks for patience is a deferral in the error of
// Do. Its log goes to the test, without secrets. Credentials and metadata are any values that encode to JSON objects; base is the client to build on,
// nil for [http.DefaultTransport].
func Integration(t testing.TB, provider contracts.Provider, credentials, metadata any, base *http.Client) *contracts.Integration {
	t.Helper()
	log := func(r *redact.Redactor) *slog.Logger {
		return r.Logger(slog.New(slog.NewTextHandler(testWriter{t}, nil)))
	}
	return integration(t, provider, credentials, metadata, base, log)
}

func integration(t testing.TB, provider contracts.Provider, credentials, metadata any, base *http.Client, log func(*redact.Redactor) *slog.Logger) *contracts.Integration {
	t.Helper()
	own := http.Client{}
	if base != nil {
		own = *base
	}
	fields := contracts.IntegrationFields{
		ID: "01930000-0000-7000-8000-000000000001", Provider: "test", Name: "test", Owner: "tester",
		Credentials: encode(t, credentials), Metadata: encode(t, metadata), Client: &own, Mappings: NewMappings(),
	}
	fields.Log = log(redact.New(provider, contracts.NewIntegration(fields)))
	in := contracts.NewIntegration(fields)
	own.Transport = outbound.Config{Base: own.Transport}.Chain(outbound.Target{
		Provider: provider, Integration: func() *contracts.Integration { return in },
	})
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

// testWriter writes a log to a test.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Helper()
	w.t.Log(string(p[:max(len(p)-1, 0)]))
	return len(p), nil
}
