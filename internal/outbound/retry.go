package outbound

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/tributaryhq/tributary/internal/budget"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

const (
	// harmlessAttempts is how often a request is sent at most that does nothing twice.
	harmlessAttempts = 3
	// longestStay is how long a request may wait here, all its waits together. A worker that sleeps does no work, so
	// that what takes longer is a deferral: the item goes back to the queue and comes again.
	longestStay = budget.LongestWait
	// longestCustomDelay bounds what a provider asks for. Upstreams that give a budget back do so within an hour; a
	// provider that means more asks again then.
	longestCustomDelay = time.Hour
	// throttledFor is how long an upstream is left alone that asks for fewer requests and does not say for how long.
	throttledFor = 30 * time.Second
	// The wait before the second attempt is anything up to these, and doubles from there. An upstream that answers with
	// an error is busy, and gets more time than a connection that broke. The jitter is full, for those who failed
	// together must not come back together; so three attempts wait 3 s on average and 6 s at most.
	backoffAnswered   = 2 * time.Second
	backoffUnanswered = time.Second
	// drainBytes is how much of an unwanted answer is read for the connection's sake; to dial anew is cheaper than
	// more.
	drainBytes = 256 << 10
)

// retry sends a request again while that does no harm and may help. What has to wait for long, or is throttled, is a
// deferral, which costs nobody a try. An upstream's failure that is left after the last attempt is returned as it came,
// so that a vendor's SDK sees what it knows.
type retry struct {
	base     http.RoundTripper
	provider contracts.Provider
	now      func() time.Time
}

func (r *retry) RoundTrip(req *http.Request) (*http.Response, error) {
	call := callOf(req)
	first, most := call.attempt, attemptsOf(req, call)
	for stayed := time.Duration(0); ; call.attempt++ {
		res, err := r.base.RoundTrip(req)
		failed := call.judge(r.provider, res, err)
		if failed.err == nil || isControl(failed.err) || req.Context().Err() != nil || !r.isWorthIt(failed) {
			return res, err
		}
		attempt := call.attempt - first + 1
		wait := r.wait(failed, attempt)
		again := attempt < most && canRewind(req)
		soon := stayed+wait <= longestStay
		switch {
		case again && soon && endsBefore(req.Context(), wait):
			next, unread := rewound(req)
			if unread != nil {
				return res, err
			}
			discard(res)
			noteAttempt(req.Context(), failed, call.attempt, wait)
			if err := sleep(req.Context(), wait); err != nil {
				return nil, err
			}
			req, stayed = next, stayed+wait
		case again && !soon, failed.class == contracts.FailureThrottle:
			discard(res)
			return nil, contracts.RetryAfter(wait, failed.err)
		default:
			return res, err
		}
	}
}

// noteAttempt has the request's span tell of an attempt that is followed by another.
func noteAttempt(ctx context.Context, failed judged, attempt int, wait time.Duration) {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	span.AddEvent("attempt failed", trace.WithAttributes(
		attribute.Int("attempt", attempt), attribute.Int("status", failed.status),
		attribute.String("class", string(failed.class)), attribute.String("wait", wait.String()),
	))
}

// attemptsOf is how often a request may be sent: as the caller says, else more than once if that does no harm.
func attemptsOf(req *http.Request, call *call) int {
	if n, ok := contracts.AttemptsFrom(req.Context()); ok {
		return n
	}
	switch req.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions:
		return harmlessAttempts
	}
	if call.deduped {
		return harmlessAttempts
	}
	return 1
}

// isWorthIt reports whether a failure may be gone at the next attempt. The provider's opinion goes before the core's.
func (r *retry) isWorthIt(failed judged) bool {
	if customizer, ok := r.provider.(contracts.RetryCustomizer); ok {
		if verdict := customizer.IsRetryable(failed.err); verdict != contracts.VerdictDefault {
			return verdict == contracts.VerdictYes
		}
	}
	switch failed.status {
	case http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	case 0:
		// A certificate is as wrong the next time.
		if _, distrusted := errors.AsType[*tls.CertificateVerificationError](failed.err); distrusted {
			return false
		}
	}
	return failed.class == contracts.FailureUpstream || failed.class == contracts.FailureThrottle
}

// wait is how long to wait after an attempt that failed: as the provider says, as the upstream says, or longer from
// attempt to attempt.
func (r *retry) wait(failed judged, attempt int) time.Duration {
	if customizer, ok := r.provider.(contracts.RetryCustomizer); ok {
		if delay, decided := customizer.RetryDelay(failed.err, attempt, failed.status); decided {
			return min(max(delay, 0), longestCustomDelay)
		}
	}
	if answer, ok := errors.AsType[*contracts.ResponseError](failed.err); ok {
		if delay, told := contracts.ReadRetryAfter(answer.Header, r.now()); told {
			return delay
		}
	}
	switch {
	case failed.class == contracts.FailureThrottle:
		return throttledFor
	case failed.status >= http.StatusInternalServerError:
		return jittered(backoffAnswered, attempt)
	default:
		return jittered(backoffUnanswered, attempt)
	}
}

// jittered is a random time up to base, doubled with every attempt after the first.
func jittered(base time.Duration, attempt int) time.Duration {
	most := min(base<<min(attempt-1, 10), longestCustomDelay)
	return rand.N(most + 1)
}

// canRewind reports whether a request's body can be had again.
func canRewind(req *http.Request) bool {
	return req.Body == nil || req.Body == http.NoBody || req.GetBody != nil
}

// rewound returns the request with its body from the beginning.
func rewound(req *http.Request) (*http.Request, error) {
	if req.GetBody == nil {
		return req, nil
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, err
	}
	again := req.WithContext(req.Context())
	again.Body = body
	return again, nil
}

// endsBefore reports whether a wait ends before the context's deadline.
func endsBefore(ctx context.Context, wait time.Duration) bool {
	deadline, limited := ctx.Deadline()
	return !limited || wait < time.Until(deadline)
}

func sleep(ctx context.Context, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// discard reads what is left of an answer that nobody gets, so that its connection can serve again.
func discard(res *http.Response) {
	if res == nil || res.Body == nil {
		return
	}
	_, _ = io.CopyN(io.Discard, res.Body, drainBytes)
	_ = res.Body.Close()
}
