package platform

import (
	"fmt"

	"github.com/tributaryhq/tributary/internal/answers"
	"github.com/tributaryhq/tributary/internal/idempotency"
	"github.com/tributaryhq/tributary/internal/outbound"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/requestlog"
)

// chains is what all requests to third parties go through.
func (p *Platform) chains() (outbound.Config, error) {
	c := p.config
	if c.Transport == nil {
		c.Transport = outbound.NewTransport(c.Egress)
	}
	metrics, err := requestlog.NewMetrics(c.Metrics)
	if err != nil {
		return outbound.Config{}, fmt.Errorf("register metrics: %w", err)
	}
	p.requests = requestlog.New(requestStore{postgres.NewRequestWriter(p.Store)}, c.Requests, metrics, c.Log)
	ledgerMetrics, err := idempotency.NewMetrics(c.Metrics)
	if err != nil {
		return outbound.Config{}, fmt.Errorf("register metrics: %w", err)
	}
	requestMetrics, err := outbound.NewRequestMetrics(c.Metrics)
	if err != nil {
		return outbound.Config{}, fmt.Errorf("register metrics: %w", err)
	}
	keys := idempotency.New(keyStore{p.Store}, p.keys, c.LeaseMargin, ledgerMetrics, c.Log)
	answerMetrics, err := answers.NewMetrics(c.Metrics)
	if err != nil {
		return outbound.Config{}, fmt.Errorf("register metrics: %w", err)
	}
	cache := answers.New(answerStore{p.Store}, answerMetrics, c.Log)
	return outbound.Config{
		Base: c.Transport, Tracers: c.Tracers, Log: c.Log, Now: c.Now, Requests: p.requests, Keys: keys, Answers: cache,
		Budgets: p.budgets, Circuits: p.circuits, Vitals: p.vitals, Metrics: requestMetrics, Crash: c.Crash,
	}, nil
}
