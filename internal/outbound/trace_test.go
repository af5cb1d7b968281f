package outbound_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/tributaryhq/tributary/internal/outbound"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

type trip func(*http.Request) (*http.Response, error)

func (t trip) RoundTrip(req *http.Request) (*http.Response, error) { return t(req) }

func TestNoSecretInSpans(t *testing.T) {
	t.Parallel()
	const secret = "credential-value"
	spans := tracetest.NewInMemoryExporter()
	sent := ""
	config := outbound.Config{
		Tracers: sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)),
		Base: trip(func(req *http.Request) (*http.Response, error) {
			sent = req.URL.String()
			return nil, errors.New("malformed answer: " + secret)
		}),
	}
	in := contracts.NewIntegration(
		contracts.IntegrationFields{Credentials: json.RawMessage(`{"token":"` + secret + `"}`)})
	client := &http.Client{Transport: config.Chain(outbound.Target{
		Provider: plain{},
		Integration: func() *contracts.Integration {
			return in
		},
	})}
	const address = "https://api.example.com/bot" + secret + "/send?page=2&access_token=4242"
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Transport.RoundTrip(req)
	if err == nil {
		_ = res.Body.Close()
		t.Fatal("no error")
	}
	if sent != address {
		t.Errorf("the upstream was asked for %s", sent)
	}
	if strings.Contains(err.Error(), secret) {
		t.Errorf("the error shows a secret: %v", err)
	}
	if len(spans.GetSpans()) != 1 {
		t.Fatalf("%d spans, want one", len(spans.GetSpans()))
	}
	span := spans.GetSpans()[0]
	text := fmt.Sprint(span.Name, span.Attributes, span.Events, span.Status)
	if strings.Contains(text, secret) || strings.Contains(text, "4242") {
		t.Errorf("the span shows a secret: %s", text)
	}
	if !strings.Contains(text, "page=2") {
		t.Errorf("the span shows too little: %s", text)
	}
}
