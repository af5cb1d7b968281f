package outbound

import (
	"bytes"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/answers"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/idempotency"
	"github.com/tributaryhq/tributary/internal/redact"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// keyed sees to it that a request with a key has its effect once. It is outside of the retries, which all belong to one
// use of the key.
type keyed struct {
	next        http.RoundTripper
	ledger      *idempotency.Ledger
	provider    contracts.Provider
	integration func() *contracts.Integration
	redactor    func() *redact.Redactor
	now         func() time.Time
	crash       func(point string)
}

func (i *keyed) RoundTrip(req *http.Request) (*http.Response, error) {
	c := callOf(req)
	if c.key == "" {
		return i.next.RoundTrip(req)
	}
	in := i.integration()
	req, fingerprint, err := fingerprinted(req, i.redactor())
	if err != nil {
		return nil, err
	}
	claim := i.claim(req, c, in, fingerprint)
	previous, held, err := i.ledger.Reserve(req.Context(), claim)
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
			i.settle(req, claim, c, idempotency.Outcome{State: idempotency.Unknown, Error: "it panicked"})
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
	// leaseAlone is how long a key is reserved for a caller whose time has no limit.
	leaseAlone = 15 * time.Minute
	// longestConflict is how long a second request is deferred at most while the first one is under way.
	longestConflict = 30 * time.Second
)

func (i *keyed) claim(req *http.Request, c *call, in *contracts.Integration, fingerprint []byte) idempotency.Claim {
	now := i.now()
	lease := now.Add(leaseAlone)
	if deadline, ok := req.Context().Deadline(); ok {
		lease = now.Add(max(time.Until(deadline), 0) + i.ledger.Margin())
	}
	hop := 0
	for follows := req.Response; follows != nil && follows.Request != nil; follows = follows.Request.Response {
		hop++
	}
	return idempotency.Claim{
		Integration: in.ID(), Provider: in.Provider(), Key: c.key, Hop: hop, Fingerprint: fingerprint,
		Owner: uuid.Must(uuid.NewV7()), LeaseUntil: lease, Now: now, Deduped: c.deduped,
	}
}

// conclude writes down what came of the request, before the caller can act on it.
func (i *keyed) conclude(req *http.Request, claim idempotency.Claim, c *call, res *http.Response,
	err error,
) (*http.Response, error) {
	verdict := c.judge(i.provider, res, err)
	if verdict.err != nil {
		outcome := idempotency.Outcome{
			State: idempotency.Failed,
			Error: foreign.Line(i.redactor().Text(verdict.err.Error())),
		}
		// An error inside of a success: whether it had an effect depends on whose fault it is.
		inside := verdict.status != 0 && verdict.status < http.StatusBadRequest &&
			verdict.class != contracts.FailureClient && verdict.class != contracts.FailureThrottle
		if c.uncertain || inside {
			outcome.State = idempotency.Unknown
		}
		i.settle(req, claim, c, outcome)
		return res, err
	}
	answer, err := answers.Keep(res)
	if err != nil {
		// It had its effect, or the upstream would not have said so; but its answer is lost.
		i.settle(req, claim, c, idempotency.Outcome{
			State: idempotency.Unknown,
			Error: foreign.Line(i.redactor().Text(err.Error())),
		})
		return nil, fmt.Errorf("read the answer to a request with an idempotency key: %w", err)
	}
	i.settle(req, claim, c, idempotency.Outcome{State: idempotency.Succeeded, Answer: answer})
	return res, nil
}

// castShadow is [idempotency.Ledger.Cast]. A request that is not sent because of it is settled.
func (i *keyed) castShadow(
	req *http.Request, claim *idempotency.Claim, c *call, previous uuid.UUID,
) (*idempotency.Held, error) {
	forgotten, err := i.ledger.Cast(req.Context(), claim, previous)
	switch {
	case err != nil:
		i.settle(req, *claim, c, idempotency.Outcome{State: idempotency.Failed, Error: "it was not sent, because " +
			"NATS was away"})
		return nil, contracts.RetryAfter(ledgerAway, err)
	case forgotten != nil:
		i.settle(req, *claim, c, idempotency.Outcome{State: idempotency.Unknown, Error: "it was sent before, and " +
			"Postgres has gone back to a state before that"})
	}
	return forgotten, nil
}

func (i *keyed) settle(req *http.Request, claim idempotency.Claim, c *call, outcome idempotency.Outcome) {
	outcome.Request, outcome.Now = c.first, i.now()
	i.ledger.Settle(req.Context(), claim, outcome)
}

// replay answers a request whose key is taken.
func (i *keyed) replay(req *http.Request, claim idempotency.Claim, held *idempotency.Held) (*http.Response, error) {
	conflict := &contracts.IdempotencyConflictError{State: contracts.IdempotencyState(held.State)}
	switch {
	case !bytes.Equal(held.Fingerprint, claim.Fingerprint):
		i.ledger.Count(claim.Provider, "mismatch")
		return nil, contracts.Permanent(contracts.ErrIdempotencyMismatch)
	case held.State == idempotency.Succeeded && held.Answer != nil:
		i.ledger.Count(claim.Provider, "replayed")
		return recovered(req, held.Answer)
	}
	i.ledger.Count(claim.Provider, "conflict")
	if held.State == idempotency.Reserved || held.State == idempotency.Failed || held.State == idempotency.Unknown &&
		claim.Deduped {
		// A failed one is free by now, and so is one whose lease ended a moment ago where the upstream recognises keys.
		conflict.State = contracts.IdempotencyReserved
		return nil, contracts.RetryAfter(min(max(held.LeaseUntil.Sub(claim.Now), time.Second), longestConflict),
			conflict)
	}
	return nil, contracts.Permanent(conflict)
}

// recovered makes an answer of what was kept.
func recovered(req *http.Request, raw []byte) (*http.Response, error) {
	kept, err := answers.Decode(raw)
	if err != nil {
		return nil, err
	}
	res := kept.Answer(req)
	res.Header.Set(contracts.ReplayedHeader, "true")
	return res, nil
}

func keyHeader(provider contracts.Provider) string {
	if namer, ok := provider.(contracts.IdempotencyHeaderNamer); ok {
		return namer.IdempotencyHeader()
	}
	return contracts.DefaultIdempotencyHeader
}
