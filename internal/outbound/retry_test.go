package outbound

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// script is an upstream that gives its answers one after the other, the last one for ever.
type script struct {
	t       *testing.T
	answers []func(*http.Request) (*http.Response, error)
	// at is when it was asked, from the start on; bodies are what it was sent.
	start  time.Time
	at     []time.Duration
	bodies []string
	open   int
}

func (s *script) RoundTrip(req *http.Request) (*http.Response, error) {
	if s.open > 0 {
		s.t.Error("the answer before was not closed")
	}
	if req.Body != nil {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			s.t.Error(err)
		}
		_ = req.Body.Close()
		s.bodies = append(s.bodies, string(body))
	}
	answer := s.answers[min(len(s.at), len(s.answers)-1)]
	s.at = append(s.at, time.Since(s.start))
	res, err := answer(req)
	if res != nil {
		s.open++
		res.Body = &counted{Reader: strings.NewReader(res.Status + strings.Repeat("x", bodyBytes-len(res.Status))), open: &s.open}
	}
	return res, err
}

const bodyBytes = 10_000

// counted is a body that is counted until it is closed.
type counted struct {
	io.Reader
	open *int
}

func (c *counted) Close() error { *c.open--; return nil }

// answering is an answer with headers; what the header Says tells is the beginning of its body.
func answering(status int, header ...string) func(*http.Request) (*http.Response, error) {
	return func(req *http.Request) (*http.Response, error) {
		h := http.Header{}
		for i := 0; i < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		return &http.Response{StatusCode: status, Status: h.Get("Says"), Header: h, Request: req}, nil
	}
}

func fails(err error) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

// customizer is a provider with an opinion about retries.
type customizer struct {
	contracts.Provider
	verdict contracts.Verdict
	delay   time.Duration
	decided bool
}

func (c customizer) IsRetryable(error) contracts.Verdict { return c.verdict }
func (c customizer) RetryDelay(error, int, int) (time.Duration, bool) {
	return c.delay, c.decided
}

// dedupes is a provider whose upstream recognises idempotency keys.
type dedupes struct{ contracts.Provider }

func (dedupes) SupportsIdempotency() {}

func TestRetry(t *testing.T) {
	t.Parallel()
	refused := errors.New("connection refused")
	withKey := func(ctx context.Context) context.Context {
		ctx, err := contracts.WithIdempotencyKey(ctx, "k")
		if err != nil {
			t.Fatal(err)
		}
		return ctx
	}
	type upstream = []func(*http.Request) (*http.Response, error)
	for _, test := range []struct {
		name     string
		method   string
		provider contracts.Provider
		with     func(context.Context) context.Context
		answers  upstream
		sent     int
		// want is "200", "deferred 30s" or a part of the error.
		want string
	}{
		{name: "a success", answers: upstream{answering(200)}, sent: 1, want: "200"},
		{name: "down twice", answers: upstream{answering(503), answering(500), answering(200)}, sent: 3, want: "200"},
		{name: "down for good is the answer itself", answers: upstream{answering(503)}, sent: 3, want: "503"},
		{name: "a status of its own", answers: upstream{answering(520), answering(200)}, sent: 2, want: "200"},
		{name: "not implemented", answers: upstream{answering(501)}, sent: 1, want: "501"},
		{name: "a wrong request", answers: upstream{answering(404)}, sent: 1, want: "404"},
		{name: "a broken connection", answers: upstream{fails(refused), answering(200)}, sent: 2, want: "200"},
		{name: "no connection", answers: upstream{fails(refused)}, sent: 3, want: "connection refused"},
		{name: "a wrong certificate", answers: upstream{fails(&tls.CertificateVerificationError{Err: refused})}, sent: 1, want: "certificate"},
		{name: "what never left", answers: upstream{fails(&unsentError{refused})}, sent: 1, want: "refused"},
		{name: "a permanent error", answers: upstream{fails(contracts.Permanent(refused))}, sent: 1, want: "refused"},
		{name: "a deferral of the budget", answers: upstream{fails(contracts.RetryAfter(time.Second, refused))}, sent: 1, want: "deferred 1s"},
		{name: "HEAD", method: "HEAD", answers: upstream{answering(503)}, sent: 3, want: "503"},
		{name: "OPTIONS", method: "OPTIONS", answers: upstream{answering(503)}, sent: 3, want: "503"},
		{name: "POST", method: "POST", answers: upstream{answering(503)}, sent: 1, want: "503"},
		{name: "DELETE", method: "DELETE", answers: upstream{answering(503)}, sent: 1, want: "503"},
		{name: "POST with a key", method: "POST", with: withKey, answers: upstream{answering(503)}, sent: 1, want: "503"},
		{name: "POST with a key that is understood", method: "POST", provider: dedupes{}, with: withKey, answers: upstream{answering(503)}, sent: 3, want: "503"},
		{name: "POST without a key to who would understand it", method: "POST", provider: dedupes{}, answers: upstream{answering(503)}, sent: 1, want: "503"},
		{
			name: "as often as the caller says", method: "POST", answers: upstream{answering(502), answering(200)}, sent: 2, want: "200",
			with: func(ctx context.Context) context.Context { return contracts.WithAttempts(ctx, 2) },
		},
		{
			name: "once as the caller says", answers: upstream{answering(503)}, sent: 1, want: "503",
			with: func(ctx context.Context) context.Context { return contracts.WithAttempts(ctx, 0) },
		},

		{name: "told to wait shortly", answers: upstream{answering(503, "Retry-After", "5"), answering(200)}, sent: 2, want: "200"},
		{name: "told to wait for long", answers: upstream{answering(503, "Retry-After", "60")}, sent: 1, want: "deferred 1m0s"},
		{name: "told to wait for too long", answers: upstream{answering(503, "Retry-After", "7200")}, sent: 1, want: "deferred 10m0s"},
		{name: "two waits that are long together", answers: upstream{answering(503, "Retry-After", "6")}, sent: 2, want: "deferred 6s"},
		{name: "told to wait where nothing is repeated", method: "POST", answers: upstream{answering(503, "Retry-After", "5")}, sent: 1, want: "503"},

		{name: "throttled", answers: upstream{answering(429)}, sent: 1, want: "deferred 30s"},
		{name: "throttled shortly", answers: upstream{answering(429, "Retry-After", "1.5"), answering(200)}, sent: 2, want: "200"},
		{name: "throttled shortly, again and again", answers: upstream{answering(429, "Retry-After", "1")}, sent: 3, want: "deferred 1s"},
		{name: "throttled where nothing is repeated", method: "POST", answers: upstream{answering(429, "Retry-After", "1")}, sent: 1, want: "deferred 1s"},
		{name: "throttled in the provider's own way", provider: opinionated{}, answers: upstream{answering(403, "Says", "limit")}, sent: 1, want: "deferred 30s"},
		{name: "forbidden", provider: opinionated{}, answers: upstream{answering(403)}, sent: 1, want: "403"},

		{name: "the provider says no", provider: customizer{verdict: contracts.VerdictNo}, answers: upstream{answering(503)}, sent: 1, want: "503"},
		{name: "the provider says no to a throttle", provider: customizer{verdict: contracts.VerdictNo}, answers: upstream{answering(429)}, sent: 1, want: "429"},
		{name: "the provider says yes", provider: customizer{verdict: contracts.VerdictYes}, answers: upstream{answering(409), answering(200)}, sent: 2, want: "200"},
		{name: "the provider leaves it", provider: customizer{}, answers: upstream{answering(409)}, sent: 1, want: "409"},
		{name: "the provider says yes where nothing is repeated", method: "PUT", provider: customizer{verdict: contracts.VerdictYes}, answers: upstream{answering(409)}, sent: 1, want: "409"},
		{
			name: "the provider's delay goes before the header", provider: customizer{delay: time.Minute, decided: true},
			answers: upstream{answering(429, "Retry-After", "1")}, sent: 1, want: "deferred 1m0s",
		},
		{name: "the provider's delay is bounded", provider: customizer{delay: 1e6 * time.Hour, decided: true}, answers: upstream{answering(429)}, sent: 1, want: "deferred 1h0m0s"},
		{name: "the provider says at once", provider: customizer{decided: true}, answers: upstream{answering(429), answering(200)}, sent: 2, want: "200"},

		{
			name: "no time for another attempt", answers: upstream{answering(503, "Retry-After", "5")}, sent: 1, want: "503",
			with: func(ctx context.Context) context.Context { return until(ctx, t, 5*time.Second) },
		},
		{
			name: "throttled and no time", answers: upstream{answering(429, "Retry-After", "5")}, sent: 1, want: "deferred 5s",
			with: func(ctx context.Context) context.Context { return until(ctx, t, 4*time.Second) },
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				up := &script{t: t, answers: test.answers, start: time.Now()}
				ctx := t.Context()
				if test.with != nil {
					ctx = test.with(ctx)
				}
				var body io.Reader
				if test.method == "POST" || test.method == "PUT" {
					body = strings.NewReader("body")
				}
				req, err := http.NewRequestWithContext(ctx, test.method, "http://a.example/path", body)
				if err != nil {
					t.Fatal(err)
				}
				chain := &begin{provider: test.provider, next: &retry{base: up, provider: test.provider, now: time.Now}}
				res, err := chain.RoundTrip(req)
				if got := told(res, err); !strings.Contains(got, test.want) {
					t.Errorf("it came to %q, want %q", got, test.want)
				}
				if len(up.at) != test.sent {
					t.Errorf("it was sent at %v, want %d times", up.at, test.sent)
				}
				if res != nil {
					rest, err := io.ReadAll(res.Body)
					if err != nil || len(rest) != bodyBytes {
						t.Errorf("%d bytes of the answer can be read: %v", len(rest), err)
					}
					_ = res.Body.Close()
				}
				if up.open != 0 {
					t.Error("an answer was not closed")
				}
				for _, sent := range up.bodies {
					if sent != "body" {
						t.Errorf("the body was sent as %q", sent)
					}
				}
			})
		})
	}
}

func until(ctx context.Context, t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, d)
	t.Cleanup(cancel)
	return ctx
}

func told(res *http.Response, err error) string {
	if deferral, ok := contracts.AsDeferral(err); ok {
		return "deferred " + deferral.Delay.String()
	}
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(res.StatusCode)
}

// The waits are spread over all of their range, so that who failed together does not come back together.
func TestRetryBackoff(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		answer func(*http.Request) (*http.Response, error)
		most   []time.Duration
	}{
		{"an answer", answering(503), []time.Duration{2 * time.Second, 4 * time.Second}},
		{"no answer", fails(errors.New("connection reset")), []time.Duration{time.Second, 2 * time.Second}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			const rounds = 200
			longest, sum := make([]time.Duration, 2), make([]time.Duration, 2)
			synctest.Test(t, func(t *testing.T) {
				for range rounds {
					up := &script{t: t, answers: []func(*http.Request) (*http.Response, error){test.answer}, start: time.Now()}
					chain := &begin{next: &retry{base: up, now: time.Now}}
					req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://a.example/", nil)
					if err != nil {
						t.Fatal(err)
					}
					if res, err := chain.RoundTrip(req); err == nil {
						discard(res)
					}
					for i := range longest {
						wait := up.at[i+1] - up.at[i]
						longest[i], sum[i] = max(longest[i], wait), sum[i]+wait
					}
				}
			})
			for i, most := range test.most {
				// Chances are below 1 in 10^9 that 200 draws stay out of these.
				if longest[i] > most || longest[i] < most*9/10 {
					t.Errorf("the longest wait before attempt %d is %v, want about %v", i+2, longest[i], most)
				}
				if mean := sum[i] / rounds; mean < most*3/8 || mean > most*5/8 {
					t.Errorf("the mean wait before attempt %d is %v, want about %v", i+2, mean, most/2)
				}
			}
		})
	}
}

func TestRetryGivesUpWithItsCaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		up := &script{t: t, answers: []func(*http.Request) (*http.Response, error){answering(503, "Retry-After", "8")}, start: time.Now()}
		time.AfterFunc(3*time.Second, cancel)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://a.example/", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := (&retry{base: up, now: time.Now}).RoundTrip(req)
		if res != nil || !errors.Is(err, context.Canceled) {
			t.Errorf("it came to %v, %v", res, err)
		}
		if took := time.Since(up.start); took != 3*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestRetryNeedsTheBody(t *testing.T) {
	t.Parallel()
	broken := errors.New("the file is gone")
	for name, getBody := range map[string]func() (io.ReadCloser, error){
		"that can't be had again": nil,
		"that is not there again": func() (io.ReadCloser, error) { return nil, broken },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				up := &script{t: t, answers: []func(*http.Request) (*http.Response, error){answering(503)}, start: time.Now()}
				req, err := http.NewRequestWithContext(contracts.WithAttempts(t.Context(), 3), http.MethodPost, "http://a.example/", strings.NewReader("body"))
				if err != nil {
					t.Fatal(err)
				}
				req.GetBody = getBody
				res, err := (&retry{base: up, now: time.Now}).RoundTrip(req)
				if got := told(res, err); got != "503" {
					t.Errorf("it came to %q", got)
				}
				discard(res)
				if diff := cmp.Diff([]string{"body"}, up.bodies); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		})
	}
}

// What the chain counts must be right in the layers below: the log tells the attempts apart.
func TestRetryTellsTheAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var seen []int
		note := func(req *http.Request) (*http.Response, error) {
			seen = append(seen, callOf(req).attempt)
			return answering(503)(req)
		}
		up := &script{t: t, answers: []func(*http.Request) (*http.Response, error){note}, start: time.Now()}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://a.example/", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := (&begin{next: &retry{base: up, now: time.Now}}).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		discard(res)
		if diff := cmp.Diff([]int{1, 2, 3}, seen); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// The span of a request tells how often it was sent and why, and shows nothing of what was sent.
func TestRetryIsTraced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		spans := tracetest.NewInMemoryExporter()
		up := &script{t: t, start: time.Now(), answers: []func(*http.Request) (*http.Response, error){
			answering(503, "Retry-After", "2"), fails(errors.New("secret")), answering(200),
		}}
		tracers := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
		chain := Config{Base: up, Tracers: tracers}.Chain(Target{Integration: func() *contracts.Integration { return contracts.NewIntegration(contracts.IntegrationFields{}) }})
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://a.example/", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := chain.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		discard(res)
		if len(spans.GetSpans()) != 1 {
			t.Fatalf("%d spans", len(spans.GetSpans()))
		}
		events := spans.GetSpans()[0].Events
		text := fmt.Sprint(events)
		if len(events) != 2 || !strings.Contains(text, "503") || !strings.Contains(text, "2s") || strings.Contains(text, "secret") {
			t.Errorf("the span tells %s", text)
		}
	})
}
