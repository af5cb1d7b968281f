package contracts

// FailureClass says whose fault a failed request is. Only [FailureUpstream] counts against the circuit and the
// integration's health; it and [FailureThrottle] are retried.
type FailureClass string

// The classes of failure, spelled as they are stored.
const (
	// FailureUpstream is the upstream being down: statuses of 500 and above but 501, refused connections, timeouts.
	FailureUpstream FailureClass = "upstream"
	// FailureThrottle is the upstream asking for fewer requests: status 429 and its like.
	FailureThrottle FailureClass = "throttle"
	// FailureClient is a request that was wrong: the other statuses of 400 and above, and 501.
	FailureClient FailureClass = "client"
	// FailureUnknown is a failure without evidence.
	FailureUnknown FailureClass = "unknown"
)

// FailureClassifier is implemented by providers whose upstream's failures don't say by their status what they are: a
// 403 that is a rate limit, a 200 with an error inside.
type FailureClassifier interface {
	// ClassifyFailure is asked about a [*ResponseError], or about the error of a request that got no answer; handlers
	// and tests may ask about the provider's own errors. It is asked about successes too, and then says false unless
	// there is an error inside.
	//
	// The answer is the class of the failure, and false when the core is to decide by status and kind of error.
	// [FailureUnknown] with true is a decision. A class of another name counts as FailureUnknown.
	ClassifyFailure(err error) (FailureClass, bool)
}
