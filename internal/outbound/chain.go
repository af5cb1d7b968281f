// Package outbound is the transport of every request to a third party: one http.RoundTripper for each concern, composed
// in [Config.Chain].
package outbound

import (
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/tributaryhq/tributary/internal/answers"
	"github.com/tributaryhq/tributary/internal/budget"
	"github.com/tributaryhq/tributary/internal/circuit"
	"github.com/tributaryhq/tributary/internal/idempotency"
	"github.com/tributaryhq/tributary/internal/redact"
	"github.com/tributaryhq/tributary/internal/requestlog"
	"github.com/tributaryhq/tributary/internal/vitals"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// Config is what all chains of a process share. Its zero value sends requests with nothing but a trace that nobody sees
// and the provider's authentication.
type Config struct {
	// Base sends what the chain lets through; nil means [http.DefaultTransport].
	Base http.RoundTripper
	// Vitals hears what became of every attempt; it may be nil.
	Vitals *vitals.Vitals
	// Metrics measure every request, by what the request log counts; they may be nil.
	Metrics *RequestMetrics
	Tracers trace.TracerProvider
	Log     *slog.Logger
	Now     func() time.Time
	// Requests has a row for every attempt that leaves; nil keeps none.
	Requests *requestlog.Log
	// Budgets hold requests back; nil means that nothing does.
	Budgets *budget.Budgets
	// Keys knows what came of requests with an idempotency key; without it, each is sent.
	Keys *idempotency.Ledger
	// Answers are kept for requests of which the caller allows it; nil keeps none.
	Answers *answers.Cache
	// Crash is called at named points; tests end the process there.
	Crash func(point string)
	// Circuits let nothing through to upstreams that fail; nil means that everything goes.
	Circuits *circuit.Circuits
}

// Target is the integration that a chain is for.
type Target struct {
	Provider contracts.Provider
	// Integration is asked at each request; the chain is part of what it returns.
	Integration func() *contracts.Integration
	// Settings are asked for at each request, too; nil means none.
	Settings func() Settings
	// Tokens are those of an OAuth2 provider; nil takes the token among the credentials as it is.
	Tokens Tokens
}

// Chain composes the transport of one integration, outermost first: call → metrics → trace → cache → idempotency →
// patient → retry → reauth → circuit → budget → watch → record → auth → witness → base.
func (c Config) Chain(t Target) http.RoundTripper {
	c = c.withDefaults()
	if t.Settings == nil {
		t.Settings = func() Settings { return Settings{} }
	}
	redactor := t.redactor()
	next := c.Base
	next = &witness{next: next}
	next = &auth{base: next, provider: t.Provider, integration: t.Integration, tokens: t.Tokens}
	if c.Requests != nil {
		next = &record{
			next: next, log: c.Requests, provider: t.Provider, integration: t.Integration, redactor: redactor,
			unlogged: requestlog.UnloggedOf(t.Provider), now: c.Now,
		}
	}
	if c.Vitals != nil {
		next = &watch{
			next: next, provider: t.Provider, integration: t.Integration, vitals: c.Vitals, redactor: redactor,
			now: c.Now,
		}
	}
	lifted := func() uint64 { return 0 }
	if c.Budgets != nil {
		limit := &limiter{base: next, budgets: c.Budgets, target: t, metrics: c.Metrics, now: c.Now}
		lifted = func() uint64 { return c.Budgets.Lifted(limit.key()) }
		next = limit
	}
	if c.Circuits != nil {
		next = &breaker{base: next, circuits: c.Circuits, target: t, metrics: c.Metrics}
	}
	if t.Tokens != nil {
		next = &reauth{base: next, tokens: t.Tokens}
	}
	next = &retry{base: next, provider: t.Provider, now: c.Now}
	next = &patient{next: next, now: c.Now, integration: t.Integration, lifted: lifted}
	if c.Keys != nil {
		next = &keyed{
			next: next, ledger: c.Keys, provider: t.Provider, integration: t.Integration, redactor: redactor,
			now: c.Now, crash: c.Crash,
		}
	}
	if c.Answers != nil {
		next = &cached{
			next: next, answers: c.Answers, provider: t.Provider, integration: t.Integration,
			settings: t.Settings, now: c.Now,
		}
	}
	next = &traced{next: next, tracer: c.Tracers.Tracer("tributary/outbound"), redactor: redactor}
	if c.Metrics != nil {
		next = &metered{
			next: next, provider: t.Provider, in: t.Integration, metrics: c.Metrics, vitals: c.Vitals,
			now: c.Now,
		}
	}
	return &begin{next: next, provider: t.Provider}
}

// redactor returns a function that finds the redactor of what the integration is at the moment.
func (t Target) redactor() func() *redact.Redactor {
	type built struct {
		of       *contracts.Integration
		redactor *redact.Redactor
	}
	var latest atomic.Pointer[built]
	return func() *redact.Redactor {
		in := t.Integration()
		have := latest.Load()
		if have == nil || have.of != in {
			have = &built{of: in, redactor: redact.New(t.Provider, in)}
			latest.Store(have)
		}
		return have.redactor
	}
}

// Once is the transport of requests that are sent once and carry their own credentials: those for tokens. They are
// traced, and nothing else.
func (c Config) Once() http.RoundTripper {
	c = c.withDefaults()
	nobody := redact.New(nil, nil)
	return &traced{next: c.Base, tracer: c.Tracers.Tracer("tributary/outbound"), redactor: func() *redact.Redactor {
		return nobody
	}}
}

func (c Config) withDefaults() Config {
	if c.Base == nil {
		c.Base = http.DefaultTransport
	}
	if c.Tracers == nil {
		c.Tracers = noop.NewTracerProvider()
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Crash == nil {
		c.Crash = func(string) {}
	}
	return c
}
