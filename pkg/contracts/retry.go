package contracts

import (
	"fmt"
	"net/http"
	"time"
)

// Verdict is an answer that may be left to the core. The zero value leaves it.
type Verdict int

// The verdicts. An explicit no is not the default: it forbids.
const (
	VerdictDefault Verdict = iota
	VerdictYes
	VerdictNo
)

// String is "default", "yes" or "no".
func (v Verdict) String() string {
	switch v {
	case VerdictYes:
		return "yes"
	case VerdictNo:
		return "no"
	default:
		return "default"
	}
}

// RetryCustomizer is implemented by providers that know better than the core which failed requests are worth repeating,
// and when.
//
// The core retries connection errors, the statuses 429, 500, 502, 503 and 504, and failures of the class
// [FailureUpstream] or [FailureThrottle]. A Retry-After of the upstream is obeyed up to 600 s.
type RetryCustomizer interface {
	// IsRetryable says whether the request that failed with err may be repeated; [VerdictDefault] lets the core decide.
	IsRetryable(err error) Verdict
	// RetryDelay is how long to wait before the next attempt. The attempt that failed is counted from 1; status is that
	// of the HTTP answer, 0 when there was none. With true a delay of 0 means at once; with false the core decides.
	RetryDelay(err error, attempt, status int) (time.Duration, bool)
}

// ResponseError is an answer that may be a failure, as an error: what [FailureClassifier] and [RetryCustomizer] are
// asked about by the platform's client, which knows nothing of a vendor SDK's own errors.
type ResponseError struct {
	// Method and Path are those of the request.
	Method, Path string
	// Status is that of the answer; it can be below 400.
	Status int
	Header http.Header
	// Excerpt is the beginning of the body, 4 KiB at most.
	Excerpt []byte
}

// Error shows neither headers nor body, which may hold secrets.
func (e *ResponseError) Error() string {
	return fmt.Sprintf("%s %s: %d %s", e.Method, e.Path, e.Status, http.StatusText(e.Status))
}
