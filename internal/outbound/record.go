package outbound

import (
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/redact"
	"github.com/tributaryhq/tributary/internal/requestlog"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// record puts every attempt that leaves into the request log. It is below all that may refuse a request, and above what
// signs it, so that the credentials are not even seen here.
type record struct {
	next        http.RoundTripper
	log         *requestlog.Log
	provider    contracts.Provider
	integration func() *contracts.Integration
	redactor    func() *redact.Redactor
	unlogged    requestlog.Unlogged
	now         func() time.Time
}

func (r *record) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := r.log.Admit(req.Context()); err != nil {
		closeBody(req)
		return nil, err
	}
	c := callOf(req)
	started := r.now()
	a, sent := r.log.Begin(req, r.exchange(req, c, started))
	returned, took := false, time.Duration(0)
	defer func() {
		// What panics here is the provider's own; the row still has its place.
		if !returned {
			a.Fail(contracts.FailureUnknown, "it panicked", took)
		}
	}()
	res, err := r.next.RoundTrip(sent)
	took = r.now().Sub(started)
	if _, refused := contracts.AsDeferral(err); refused {
		returned = true
		a.Forget()
		return nil, err
	}
	if err != nil {
		verdict := c.judge(r.provider, nil, err)
		returned = true
		a.Fail(verdict.class, err.Error(), took)
		return nil, err
	}
	a.Answer(req.Context(), res, took)
	// What is read to judge an answer is recorded, too.
	verdict, failure := c.judge(r.provider, res, nil), ""
	if verdict.err != nil {
		failure = verdict.err.Error()
	}
	returned = true
	a.Judge(verdict.class, failure)
	return res, nil
}

// exchange counts the attempt, and is what is known of it before it leaves.
func (r *record) exchange(req *http.Request, c *call, now time.Time) requestlog.Exchange {
	in, id := r.integration(), uuid.Must(uuid.NewV7())
	if c.first == uuid.Nil {
		c.first = id
	}
	c.sent++
	return requestlog.Exchange{
		ID: id, First: c.first, At: now, Integration: in.ID(), Provider: in.Provider(),
		Origin: requestlog.OriginOf(req.Context()), Redactor: r.redactor(),
		Number: c.sent, Key: c.key, Unwanted: r.unlogged.Match(req.Method, req.URL.Path),
		Classify: func(err error) contracts.FailureClass { return classify(nil, err, 0) },
	}
}

// closeBody is for a request that does not leave: a transport closes the body whatever happens.
func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}
