package requestlog

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

// Exchange is what the caller knows of an attempt before it leaves.
type Exchange struct {
	// ID is that of the attempt, and First that of the first attempt of the same call.
	ID, First   uuid.UUID
	At          time.Time
	Integration string
	Provider    string
	Origin      Origin
	Redactor    *redact.Redactor
	// Number counts the attempts of a call from 1, and Key is its idempotency key.
	Number int
	Key    string
	// Unwanted says that of the answer's body only the size is of interest.
	Unwanted bool
	// Classify judges a body that breaks off.
	Classify func(error) contracts.FailureClass
}

// Attempt is one row in the making. What it has of the request and the answer holds secrets, and is redacted on its way
// out of memory.
type Attempt struct {
	Exchange
	log *Log

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

// Begin begins the row of a request that was admitted, and returns the request whose body is recorded. The caller then
// calls one of [Attempt.Forget], [Attempt.Fail], and [Attempt.Answer] followed by [Attempt.Judge].
func (l *Log) Begin(req *http.Request, e Exchange) (*Attempt, *http.Request) {
	a := &Attempt{Exchange: e, log: l, method: req.Method, url: *req.URL, requestHeader: req.Header.Clone()}
	a.request.log, a.response.log, a.response.unwanted = l, l, e.Unwanted
	a.pending.Store(2)
	sent := req.WithContext(req.Context())
	a.request.wrap(sent)
	return a, sent
}

// Forget ends an attempt that did not leave: it has no row.
func (a *Attempt) Forget() { <-a.log.slots }

// Fail ends an attempt without an answer.
func (a *Attempt) Fail(class contracts.FailureClass, failure string, took time.Duration) {
	a.class, a.failure, a.duration = class, failure, took
	a.pending.Store(1)
	a.settle()
}

// Answer notes the head of an answer, and records its body as the caller reads it.
func (a *Attempt) Answer(ctx context.Context, res *http.Response, took time.Duration) {
	a.status, a.responseHeader, a.duration = res.StatusCode, res.Header.Clone(), took
	if res.StatusCode == http.StatusSwitchingProtocols || res.Body == nil || res.Body == http.NoBody {
		a.settle()
		return
	}
	// A caller that forgets to close the body has forgotten it for good when its time is over.
	a.response.done = a.settle
	a.forget = context.AfterFunc(ctx, a.response.end)
	res.Body = &recordedBody{recording: &a.response, body: res.Body}
}

// Judge says whether the answer is a failure, and ends the caller's part: class and failure are empty for a success.
func (a *Attempt) Judge(class contracts.FailureClass, failure string) {
	a.class, a.failure = class, failure
	a.settle()
}

func (a *Attempt) settle() {
	if a.pending.Add(-1) != 0 {
		return
	}
	if a.forget != nil {
		a.forget()
	}
	a.log.queue <- a
}
