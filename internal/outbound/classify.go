package outbound

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// excerptBytes is how much of an answer's body a provider is shown to judge it by.
const excerptBytes = 4 << 10

// judged is what became of one attempt: class and err are empty for a success.
type judged struct {
	class contracts.FailureClass
	// err is what failed: the transport's error, or the answer as a [contracts.ResponseError].
	err error
	// status is that of the answer, 0 when there was none.
	status int
}

// judge tells whether an attempt failed, and whose fault it was. The provider's opinion goes before the core's. The
// body of the answer can be read afterwards as if nobody had looked.
func judge(provider contracts.Provider, res *http.Response, err error) judged {
	if err != nil {
		return judged{class: classify(provider, err, 0), err: err}
	}
	_, opinionated := provider.(contracts.FailureClassifier)
	if res.StatusCode < http.StatusBadRequest {
		// A success with an error inside is known to the provider alone.
		if !opinionated || res.StatusCode == http.StatusNotModified || res.StatusCode == http.StatusNoContent {
			return judged{status: res.StatusCode}
		}
		failure := responseError(res)
		if class, ok := opinion(provider, failure); ok {
			return judged{class: class, err: failure, status: res.StatusCode}
		}
		return judged{status: res.StatusCode}
	}
	failure := responseError(res)
	return judged{class: classify(provider, failure, res.StatusCode), err: failure, status: res.StatusCode}
}

// opinion is what the provider says of a failure. A class that there is none of, which no log and no metric has a place
// for, is unknown.
func opinion(provider contracts.Provider, err error) (contracts.FailureClass, bool) {
	classifier, ok := provider.(contracts.FailureClassifier)
	if !ok {
		return "", false
	}
	class, decided := classifier.ClassifyFailure(err)
	switch class {
	case contracts.FailureUpstream, contracts.FailureThrottle, contracts.FailureClient, contracts.FailureUnknown:
		return class, decided
	}
	return contracts.FailureUnknown, decided
}

func classify(provider contracts.Provider, err error, status int) contracts.FailureClass {
	if class, decided := opinion(provider, err); decided {
		return class
	}
	switch {
	case status == http.StatusTooManyRequests:
		return contracts.FailureThrottle
	case status == http.StatusNotImplemented:
		return contracts.FailureClient
	case status >= http.StatusInternalServerError:
		return contracts.FailureUpstream
	case status >= http.StatusBadRequest:
		return contracts.FailureClient
	case status != 0:
		return contracts.FailureUnknown
	// Who gives up does not blame the upstream; who runs out of time does.
	case errors.Is(err, context.Canceled), isControl(err):
		return contracts.FailureUnknown
	default:
		return contracts.FailureUpstream
	}
}

// isControl reports whether an error is one of the chain's own or the provider's verbs, and no failure of the upstream.
func isControl(err error) bool {
	_, deferred := contracts.AsDeferral(err)
	_, unsent := errors.AsType[*unsentError](err)
	return deferred || unsent || contracts.IsPermanent(err)
}

// unsentError is why a request did not leave, when the reason is on this side.
type unsentError struct{ error }

func (e *unsentError) Unwrap() error { return e.error }

// responseError is an answer as an error, with the beginning of its body.
func responseError(res *http.Response) *contracts.ResponseError {
	failure := &contracts.ResponseError{Status: res.StatusCode, Header: res.Header}
	if res.Request != nil {
		failure.Method = res.Request.Method
		if res.Request.URL != nil {
			failure.Path = res.Request.URL.EscapedPath()
		}
	}
	if res.Body != nil && res.Body != http.NoBody {
		// An error here comes again to whoever reads the rest.
		failure.Excerpt, _ = io.ReadAll(io.LimitReader(res.Body, excerptBytes))
		res.Body = &reread{Reader: io.MultiReader(bytes.NewReader(failure.Excerpt), res.Body), Closer: res.Body}
	}
	return failure
}

type reread struct {
	io.Reader
	io.Closer
}
