package outbound_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/tributaryhq/tributary/internal/outbound"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// plain is a provider without credentials on its requests.
type plain struct{ contracts.Provider }

// signer signs each request with its host.
type signer struct {
	contracts.Provider
	err error
}

func (s signer) Authenticate(in *contracts.Integration, req *http.Request) error {
	req.Header.Set("Authorization", "signed by "+in.Name()+" for "+req.URL.Path)
	return s.err
}

// tokens is an OAuth2 provider; the runtime only asks whether it is one.
type tokens struct {
	contracts.Provider
	contracts.OAuth2
	// home is where its token may go, beside the URLs of the metadata.
	home string
}

// CredentialHosts are those that the tests talk to.
func (t tokens) CredentialHosts(in *contracts.Integration) ([]string, error) {
	named, err := contracts.MetadataHosts(in)
	return append(named, cmp.Or(t.home, "api.example.com")), err
}

// signingTokens signs for itself although it is an OAuth2 provider.
type signingTokens struct{ tokens }

func (signingTokens) Authenticate(in *contracts.Integration, req *http.Request) error {
	return signer{}.Authenticate(in, req)
}

// client is one whose metadata names hosts by their URLs.
func client(base http.RoundTripper, provider contracts.Provider, credentials string, hosts ...string) *http.Client {
	metadata, _ := json.Marshal(map[string]any{"urls": hosts}) // strings encode
	in := contracts.NewIntegration(contracts.IntegrationFields{
		Name: "main", Credentials: json.RawMessage(credentials),
		Metadata: metadata,
	})
	return &http.Client{Transport: outbound.Config{Base: base}.Chain(outbound.Target{
		Provider: provider,
		Integration: func() *contracts.Integration {
			return in
		},
	})}
}

// upstream notes what it was sent, and redirects /to?<address> there.
type upstream struct {
	*httptest.Server
	got []string
}

func newUpstream(t *testing.T) *upstream {
	t.Helper()
	u := &upstream{}
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.got = append(u.got, strings.TrimSpace(r.URL.Path+" "+r.Header.Get("Authorization")))
		for _, name := range []string{"Traceparent", "Tracestate", "Baggage"} {
			if r.Header.Get(name) != "" {
				t.Errorf("the upstream was sent %s", name)
			}
		}
		if r.URL.Path == "/to" {
			http.Redirect(w, r, r.URL.RawQuery, http.StatusTemporaryRedirect)
		}
	}))
	t.Cleanup(u.Close)
	return u
}

func get(t *testing.T, c *http.Client, url string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	do(t, c, req)
}

func do(t *testing.T, c *http.Client, req *http.Request) {
	t.Helper()
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
}

func TestCredentialsOverRedirects(t *testing.T) {
	const token = `{"access_token":"t"}`
	tests := []struct {
		name        string
		provider    contracts.Provider
		credentials string
		// path is asked for at home; HOME and AWAY stand for the two upstreams.
		path       string
		home, away []string
	}{
		{"none to send", plain{}, token, "/a", []string{"/a"}, nil},
		{"a provider that signs", signer{}, `{}`, "/a", []string{"/a signed by main for /a"}, nil},
		{
			"a provider that signs every hop, and knows its hosts itself",
			signer{},
			`{}`, "/to?AWAY/b",
			[]string{"/to signed by main for /to"},
			[]string{"/b signed by main for /b"},
		},
		{"a token", tokens{}, token, "/a", []string{"/a Bearer t"}, nil},
		{
			"a token, over a redirect at home",
			tokens{},
			token, "/to?HOME/b",
			[]string{"/to Bearer t", "/b Bearer t"},
			nil,
		},
		{"a token, over a relative redirect", tokens{}, token, "/to?/b", []string{"/to Bearer t", "/b Bearer t"}, nil},
		{"no token for a foreign host", tokens{}, token, "/to?AWAY/b", []string{"/to Bearer t"}, []string{"/b"}},
		{
			"no token for who comes back from one",
			tokens{},
			token, "/to?AWAY/to?HOME/b",
			[]string{"/to Bearer t", "/b"},
			[]string{"/to"},
		},
		{"no token yet", tokens{}, `{"client_id":"x"}`, "/a", []string{"/a"}, nil},
		{"no credentials yet", tokens{}, "", "/a", []string{"/a"}, nil},
		{
			"a provider that signs instead of its token",
			signingTokens{},
			token, "/a",
			[]string{"/a signed by main for /a"},
			nil,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			home, away := newUpstream(t), newUpstream(t)
			path := strings.NewReplacer("HOME", home.URL, "AWAY", away.URL).Replace(tt.path)
			get(t, client(http.DefaultTransport, tt.provider, tt.credentials, home.URL), home.URL+path)
			if diff := gocmp.Diff(tt.home, home.got); diff != "" {
				t.Errorf("home (-want +got):\n%s", diff)
			}
			if diff := gocmp.Diff(tt.away, away.got); diff != "" {
				t.Errorf("away (-want +got):\n%s", diff)
			}
		})
	}
}

// downgrade is a transport that redirects from https to http on the same host.
type downgrade struct{ got []string }

func (d *downgrade) RoundTrip(req *http.Request) (*http.Response, error) {
	d.got = append(d.got, strings.TrimSpace(req.URL.Scheme+" "+req.Header.Get("Authorization")))
	resp := &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: req, Header: http.Header{}}
	if req.URL.Scheme == "https" {
		resp.StatusCode = http.StatusFound
		resp.Header.Set("Location", "http://"+req.URL.Host+"/")
	}
	return resp, nil
}

func TestNoTokenWithoutEncryption(t *testing.T) {
	base := &downgrade{}
	get(t, client(base, tokens{}, `{"access_token":"t"}`), "https://api.example.com/")
	if diff := gocmp.Diff([]string{"https Bearer t", "http"}, base.got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRequestIsNotChanged(t *testing.T) {
	for name, provider := range map[string]contracts.Provider{
		"signer": signer{}, "tokens": tokens{},
		"plain": plain{},
	} {
		t.Run(name, func(t *testing.T) {
			up := newUpstream(t)
			req := httptest.NewRequest(http.MethodPost, up.URL, strings.NewReader("body"))
			req.RequestURI = ""
			req.Header.Set("Accept", "x")
			do(t, client(http.DefaultTransport, provider, `{"access_token":"t"}`, up.URL), req)
			if diff := gocmp.Diff(http.Header{"Accept": {"x"}}, req.Header); diff != "" {
				t.Errorf("header (-want +got):\n%s", diff)
			}
		})
	}
}

// The upstream itself complains when it is sent a trace.
func TestNoTraceLeaves(t *testing.T) {
	before := otel.GetTextMapPropagator()
	otel.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{},
		propagation.Baggage{}))
	t.Cleanup(func() { otel.SetTextMapPropagator(before) })
	up := newUpstream(t)
	span := trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2},
		TraceFlags: trace.FlagsSampled,
	})
	req, err := http.NewRequestWithContext(trace.ContextWithSpanContext(t.Context(), span), http.MethodGet, up.URL+"/a",
		nil)
	if err != nil {
		t.Fatal(err)
	}
	do(t, client(http.DefaultTransport, plain{}, ""), req)
	if len(up.got) != 1 {
		t.Errorf("the upstream was asked %d times, want once", len(up.got))
	}
}

// closing notes that a body was closed.
type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error { c.closed = true; return nil }

func TestFailedAuthentication(t *testing.T) {
	const secret = "s3cret"
	refused := errors.New("no key")
	tests := []struct {
		name        string
		provider    contracts.Provider
		credentials string
		want        error
	}{
		{"the provider refuses", signer{err: refused}, `{}`, refused},
		{"credentials that do not fit", tokens{}, `{"access_token":["` + secret + `"]}`, nil},
		{"credentials that are not JSON", tokens{}, secret, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			up := newUpstream(t)
			body := &closing{Reader: strings.NewReader("body")}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, up.URL, body)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := client(http.DefaultTransport, tt.provider, tt.credentials, up.URL).Do(req)
			if err == nil {
				_ = resp.Body.Close()
				t.Fatal("the request left")
			}
			if tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("error is %v, want %v", err, tt.want)
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("error %v shows the credentials", err)
			}
			if !body.closed {
				t.Error("the body was not closed")
			}
			if len(up.got) != 0 {
				t.Errorf("the upstream was asked %v", up.got)
			}
		})
	}
}
