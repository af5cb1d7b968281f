package outbound

import (
	"context"
	"errors"
	"net/http"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// circuit lets nothing through to an upstream that fails, until it has had a rest and one request has found it well.
type circuit struct {
	base     http.RoundTripper
	circuits *Circuits
	target   Target
}

func (c *circuit) RoundTrip(req *http.Request) (*http.Response, error) {
	in := c.target.Integration()
	pass, err := c.circuits.enter(req.Context(), in.Provider()+"."+in.ID(), c.target.Settings())
	if err != nil {
		closeBody(req)
		return nil, err
	}
	res, err := c.base.RoundTrip(req)
	if pass.counts {
		c.circuits.leave(req.Context(), pass, outcomeOf(callOf(req).judge(c.target.Provider, res, err)))
	}
	return res, err
}

// outcome is what a request says about its upstream.
type outcome int

const (
	// silent: nothing. The request did not get there, or its caller gave up.
	silent outcome = iota
	// answered: it is up, whatever it thinks of the request.
	answered
	failed
)

func outcomeOf(verdict judged) outcome {
	switch {
	case verdict.class == contracts.FailureUpstream:
		return failed
	case verdict.status == 0 && verdict.class != "" && (errors.Is(verdict.err, context.Canceled) || isControl(verdict.err) || verdict.class == contracts.FailureUnknown):
		return silent
	default:
		return answered
	}
}
