package outbound

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/redact"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// idempotency sees to it that a request with a key has its effect once. It is outside of the retries, which all belong to one use of the key.
type idempotency struct {
	next        http.RoundTripper
	ledger      *Ledger
	provider    contracts.Provider
	integration func() *contracts.Integration
	redactor    func() *redact.Redactor
	now         func() time.Time
	crash       func(point string)
}

func (i *idempotency) RoundTrip(req *http.Request) (*http.Response, error) {
	c := callOf(req)
	if c.key == "" {
		return i.next.RoundTrip(req)
	}
	in := i.integration()
	if !c.deduped {
		i.ledger.warnOnce(in.Provider())
	}
	req, fingerprint, err := fingerprinted(req, i.redactor())
	if err != nil {
		return nil, err
	}
	claim := i.claim(req, c, in, fingerprint)
	previous, held, err := i.ledger.store.Reserve(req.Context(), claim)
	if err != nil {
		closeBody(req)
		return nil, contracts.RetryAfter(ledgerAway, fmt.Errorf("reserve an idempotency key: %w", err))
	}
	if held == nil {
		i.crash("outbound: key reserved")
		if held, err = i.castShadow(req, &claim, c, previous); err != nil {
			closeBody(req)
			return nil, err
		}
	}
	if held != nil {
		closeBody(req)
		return i.replay(req, claim, held)
	}
	i.crash("outbound: shadow written")
	if c.deduped {
		req = req.Clone(req.Context())
		req.Header.Set(keyHeader(i.provider), c.key)
	}
	returned := false
	defer func() {
		if !returned {
			i.settle(req, claim, c, KeyOutcome{State: KeyUnknown, Error: "it panicked"})
		}
	}()
	res, err := i.next.RoundTrip(req)
	i.crash("outbound: answer received")
	res, err = i.conclude(req, claim, c, res, err)
	returned = true
	return res, err
}

const (
	// ledgerAway is how long a request waits that can't have its key.
	ledgerAway = 10 * time.Second
	// settleWithin is how long writing down an outcome may take, though the caller's time is over.
	settleWithin = 5 * time.Second
	// leaseAlone is how long a key is reserved for a caller whose time has no limit.
	leaseAlone = 15 * time.Minute
	// longestConflict is how long a second request is deferred at most while the first one is under way.
	longestConflict = 30 * time.Second
	// keptAnswer is how large an answer may be that a second request gets.
	keptAnswer = 1 << 20
)

func (i *idempotency) claim(req *http.Request, c *call, in *contracts.Integration, fingerprint []byte) KeyClaim {
	now := i.now()
	lease := now.Add(leaseAlone)
	if deadline, ok := req.Context().Deadline(); ok {
		lease = now.Add(max(time.Until(deadline), 0) + i.ledger.margin)
	}
	hop := 0
	for follows := req.Response; follows != nil && follows.Request != nil; follows = follows.Request.Response {
		hop++
	}
	return KeyClaim{
		Integration: in.ID(), Provider: in.Provider(), Key: c.key, Hop: hop, Fingerprint: fingerprint, Owner: uuid.Must(uuid.NewV7()), LeaseUntil: lease, Now: now, Deduped: c.deduped,
	}
}

// conclude writes down what came of the request, before the caller can act on it.
func (i *idempotency) conclude(req *http.Request, claim KeyClaim, c *call, res *http.Response, err error) (*http.Response, error) {
	verdict := c.judge(i.provider, res, err)
	if verdict.err != nil {
		outcome := KeyOutcome{State: KeyFailed, Error: foreign.Line(i.redactor().Text(verdict.err.Error()))}
		// An error inside of a success: whether it had an effect depends on whose fault it is.
		inside := verdict.status != 0 && verdict.status < http.StatusBadRequest && verdict.class != contracts.FailureClient && verdict.class != contracts.FailureThrottle
		if c.uncertain || inside {
			outcome.State = KeyUnknown
		}
		i.settle(req, claim, c, outcome)
		return res, err
	}
	answer, err := keep(res)
	if err != nil {
		// It had its effect, or the upstream would not have said so; but its answer is lost.
		i.settle(req, claim, c, KeyOutcome{State: KeyUnknown, Error: foreign.Line(i.redactor().Text(err.Error()))})
		return nil, fmt.Errorf("read the answer to a request with an idempotency key: %w", err)
	}
	i.settle(req, claim, c, KeyOutcome{State: KeySucceeded, Answer: answer})
	return res, nil
}

// settle does not fail the request: a key whose outcome is not written down becomes unknown when its lease is over.
func (i *idempotency) settle(req *http.Request, claim KeyClaim, c *call, outcome KeyOutcome) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(req.Context()), settleWithin)
	defer cancel()
	outcome.Request, outcome.Now = c.first, i.now()
	i.ledger.metrics.outcome(claim.Provider, string(outcome.State))
	if outcome.State == KeyFailed {
		i.ledger.freeShadow(ctx, claim)
	}
	if err := i.ledger.store.Settle(ctx, claim, outcome); err != nil {
		i.ledger.log.Warn("could not write down what came of a request with an idempotency key", "provider", claim.Provider, "state", outcome.State, "error", err)
	}
}

// replay answers a request whose key is taken.
func (i *idempotency) replay(req *http.Request, claim KeyClaim, held *HeldKey) (*http.Response, error) {
	conflict := &contracts.IdempotencyConflictError{State: contracts.IdempotencyState(held.State)}
	switch {
	case !bytes.Equal(held.Fingerprint, claim.Fingerprint):
		i.ledger.metrics.outcome(claim.Provider, "mismatch")
		return nil, contracts.Permanent(contracts.ErrIdempotencyMismatch)
	case held.State == KeySucceeded && held.Answer != nil:
		i.ledger.metrics.outcome(claim.Provider, "replayed")
		return recovered(req, held.Answer)
	}
	i.ledger.metrics.outcome(claim.Provider, "conflict")
	if held.State == KeyReserved || held.State == KeyFailed || held.State == KeyUnknown && claim.Deduped {
		// A failed one is free by now, and so is one whose lease ended a moment ago where the upstream recognises keys.
		conflict.State = contracts.IdempotencyReserved
		return nil, contracts.RetryAfter(min(max(held.LeaseUntil.Sub(claim.Now), time.Second), longestConflict), conflict)
	}
	return nil, contracts.Permanent(conflict)
}

// keptResponse is an answer as the ledger and the cache keep it.
type keptResponse struct {
	Status int         `json:"status"`
	Header http.Header `json:"header"`
	Body   []byte      `json:"body"`
}

// keep reads an answer and returns it as it is kept, nil if it is too large. The caller still gets all of it.
func keep(res *http.Response) ([]byte, error) {
	body, whole, err := readAhead(res, keptAnswer)
	if err != nil || !whole {
		return nil, err
	}
	kept, err := json.Marshal(keptResponse{Status: res.StatusCode, Header: res.Header, Body: body})
	if err != nil {
		return nil, fmt.Errorf("encode an answer: %w", err)
	}
	return kept, nil
}

// readAhead reads a body, up to a limit, and puts it back. Its error leaves nothing to be read.
func readAhead(res *http.Response, most int64) (body []byte, whole bool, err error) {
	if res.Body == nil || res.Body == http.NoBody {
		return nil, true, nil
	}
	body, err = io.ReadAll(io.LimitReader(res.Body, most+1))
	if err != nil {
		_ = res.Body.Close()
		return nil, false, err
	}
	if int64(len(body)) <= most {
		err = res.Body.Close()
		res.Body = io.NopCloser(bytes.NewReader(body))
		return body, true, err
	}
	res.Body = &reread{Reader: io.MultiReader(bytes.NewReader(body), res.Body), Closer: res.Body}
	return nil, false, nil
}

// recovered makes an answer of what was kept.
func recovered(req *http.Request, raw []byte) (*http.Response, error) {
	var kept keptResponse
	if err := json.Unmarshal(raw, &kept); err != nil {
		return nil, errors.New("decode the answer of an earlier request: it is not what was written")
	}
	res := kept.response(req)
	res.Header.Set(contracts.ReplayedHeader, "true")
	return res, nil
}

func (k keptResponse) response(req *http.Request) *http.Response {
	header := k.Header.Clone()
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{
		Status: strings.TrimSpace(fmt.Sprint(k.Status, " ", http.StatusText(k.Status))), StatusCode: k.Status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Body: io.NopCloser(bytes.NewReader(k.Body)), ContentLength: int64(len(k.Body)), Request: req,
	}
}

func keyHeader(provider contracts.Provider) string {
	if namer, ok := provider.(contracts.IdempotencyHeaderNamer); ok {
		return namer.IdempotencyHeader()
	}
	return contracts.DefaultIdempotencyHeader
}
