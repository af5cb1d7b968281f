package outbound

import (
	"context"
	"net/http"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// call is what the concerns of one request share: the outermost begins it, those below find it with [callOf]. A
// redirect is followed by a call of its own. One goroutine at a time has it.
type call struct {
	// attempt is counted from 1; whoever sends the request again raises it before.
	attempt int
	// first is the id of the first attempt's row in the request log; nil until something has left. sent counts what
	// has.
	first uuid.UUID
	sent  int
	// key is the caller's idempotency key, empty without one.
	key string
	// deduped says that the upstream recognises the key, so that sending the request again does nothing twice.
	deduped bool
	// signed is the integration whose access token the request was sent with; nil without one.
	signed *contracts.Integration
	// uncertain says that an attempt was sent of which nobody knows whether it had its effect.
	uncertain bool

	// verdict is the judgement of the answer that was judged last.
	verdict   judged
	verdictOn *http.Response
}

type callKey struct{}

// callOf is the call that a request belongs to: one of its own, where nobody began it.
func callOf(req *http.Request) *call {
	if c, ok := req.Context().Value(callKey{}).(*call); ok {
		return c
	}
	return newCall(req.Context(), nil)
}

func newCall(ctx context.Context, provider contracts.Provider) *call {
	c := &call{attempt: 1}
	c.key, _ = contracts.IdempotencyKeyFrom(ctx)
	if c.key != "" {
		_, c.deduped = provider.(contracts.IdempotencySupporter)
	}
	return c
}

// judge is the function of that name, asked once for each answer however many concerns want to know.
func (c *call) judge(provider contracts.Provider, res *http.Response, err error) judged {
	if err != nil {
		return judge(provider, nil, err)
	}
	if res != c.verdictOn {
		c.verdict, c.verdictOn = judge(provider, res, nil), res
	}
	return c.verdict
}

// begin starts the call of every request. It is outermost: a request that is made with the context of another one is
// another call.
type begin struct {
	next     http.RoundTripper
	provider contracts.Provider
}

func (b *begin) RoundTrip(req *http.Request) (*http.Response, error) {
	c := newCall(req.Context(), b.provider)
	return b.next.RoundTrip(req.WithContext(context.WithValue(req.Context(), callKey{}, c)))
}
