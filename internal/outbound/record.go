package outbound

import (
	"context"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/redact"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// record puts every attempt that leaves into the request log. It is below all that may refuse a request, and above what signs it, so that the credentials
// are not even seen here.
type record struct {
	next        http.RoundTripper
	log         *RequestLog
	provider    contracts.Provider
	integration func() *contracts.Integration
	redactor    func() *redact.Redactor
	unlogged    []endpoint
	now         func() time.Time
}

func (r *record) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := r.log.admit(req.Context()); err != nil {
		closeBody(req)
		return nil, err
	}
	c, a := callOf(req), r.begin(req)
	if c.first == uuid.Nil {
		c.first = a.id
	}
	c.sent++
	a.attempt, a.first, a.key = c.sent, c.first, c.key
	sent := req.WithContext(req.Context())
	a.request.wrap(sent)
	returned := false
	defer func() {
		// What panics here is the provider's own; the row still has its place.
		if !returned {
			a.class, a.failure = contracts.FailureUnknown, "it panicked"
			a.settleAll()
		}
	}()
	res, err := r.next.RoundTrip(sent)
	a.duration = r.now().Sub(a.at)
	if _, refused := contracts.AsDeferral(err); refused {
		returned = true
		<-r.log.slots
		return nil, err
	}
	if err != nil {
		verdict := c.judge(r.provider, nil, err)
		a.class, a.failure = verdict.class, err.Error()
		returned = true
		a.settleAll()
		return nil, err
	}
	a.status, a.responseHeader = res.StatusCode, res.Header.Clone()
	if res.StatusCode == http.StatusSwitchingProtocols || res.Body == nil || res.Body == http.NoBody {
		a.settle()
	} else {
		// A caller that forgets to close the body has forgotten it for good when its time is over.
		a.response.done = a.settle
		a.forget = context.AfterFunc(req.Context(), a.response.end)
		res.Body = &recordedBody{recording: &a.response, body: res.Body}
	}
	// What is read to judge an answer is recorded, too.
	if verdict := c.judge(r.provider, res, nil); verdict.err != nil {
		a.class, a.failure = verdict.class, verdict.err.Error()
	}
	returned = true
	a.settle()
	return res, nil
}

func (r *record) begin(req *http.Request) *attempt {
	in := r.integration()
	a := &attempt{
		log: r.log, id: uuid.Must(uuid.NewV7()), at: r.now(), integration: in.ID(), provider: in.Provider(), origin: originOf(req.Context()), redactor: r.redactor(),
		method: req.Method, url: *req.URL, requestHeader: req.Header.Clone(),
	}
	a.request.log, a.response.log = r.log, r.log
	for _, e := range r.unlogged {
		if e.matches(req.Method, req.URL.Path) {
			a.response.unwanted = true
		}
	}
	a.pending.Store(2)
	return a
}

// attempt is one row in the making. What it has of the request and the answer holds secrets, and is redacted on its way out of memory.
type attempt struct {
	log         *RequestLog
	id, first   uuid.UUID
	at          time.Time
	integration string
	provider    string
	origin      Origin
	redactor    *redact.Redactor
	attempt     int
	key         string

	method         string
	url            url.URL
	requestHeader  http.Header
	request        recording
	status         int
	responseHeader http.Header
	response       recording
	duration       time.Duration
	class          contracts.FailureClass
	failure        string

	// pending counts what has to be known before the row is whole: the verdict, and the end of the body.
	pending atomic.Int32
	forget  func() bool
}

func (a *attempt) settle() {
	if a.pending.Add(-1) != 0 {
		return
	}
	if a.forget != nil {
		a.forget()
	}
	a.log.queue <- a
}

// settleAll is for an attempt without an answer.
func (a *attempt) settleAll() {
	a.pending.Store(1)
	a.settle()
}

// closeBody is for a request that does not leave: a transport closes the body whatever happens.
func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}
