package outbound

import (
	"context"
	"errors"
	"net/http"

	"github.com/tributaryhq/tributary/internal/circuit"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// breaker lets nothing through to an upstream that fails, until it has had a rest and one request has found it well.
type breaker struct {
	base     http.RoundTripper
	circuits *circuit.Circuits
	target   Target
	metrics  *RequestMetrics
}

func (c *breaker) RoundTrip(req *http.Request) (*http.Response, error) {
	in := c.target.Integration()
	settings := c.target.Settings()
	pass, err := c.circuits.Enter(req.Context(), in.Provider(), in.ID(), settings.Circuit, settings.CircuitUntil)
	if err != nil {
		c.metrics.refused(in.Provider(), "circuit")
		closeBody(req)
		return nil, err
	}
	res, err := c.base.RoundTrip(req)
	c.circuits.Leave(req.Context(), pass, outcomeOf(callOf(req).judge(c.target.Provider, res, err)))
	return res, err
}

// outcomeOf is what an exchange says about its upstream.
func outcomeOf(verdict judged) circuit.Outcome {
	switch {
	case verdict.class == contracts.FailureUpstream:
		return circuit.Failed
	case verdict.status == 0 && verdict.class != "" && (errors.Is(verdict.err, context.Canceled) ||
		isControl(verdict.err) || verdict.class == contracts.FailureUnknown):
		return circuit.Silent
	default:
		return circuit.Answered
	}
}
