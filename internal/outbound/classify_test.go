package outbound

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// opinionated takes a body with "limit" in it for a throttle, whatever the status.
type opinionated struct{ contracts.Provider }

func (opinionated) ClassifyFailure(err error) (contracts.FailureClass, bool) {
	failure, ok := errors.AsType[*contracts.ResponseError](err)
	return contracts.FailureThrottle, ok && strings.Contains(string(failure.Excerpt), "limit")
}

// inventive has a class of its own, that there is none of.
type inventive struct{ contracts.Provider }

func (inventive) ClassifyFailure(error) (contracts.FailureClass, bool) { return "caf\xe9", true }

func TestJudge(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		provider contracts.Provider
		status   int
		body     string
		err      error
		want     contracts.FailureClass
	}{
		{name: "success", status: 200},
		{name: "redirect", status: 302},
		{name: "not modified", status: 304},
		{name: "wrong request", status: 404, want: contracts.FailureClient},
		{name: "not implemented", status: 501, want: contracts.FailureClient},
		{name: "throttled", status: 429, want: contracts.FailureThrottle},
		{name: "down", status: 503, want: contracts.FailureUpstream},
		{name: "a status of its own", status: 520, want: contracts.FailureUpstream},
		{name: "connection refused", err: errors.New("connection refused"), want: contracts.FailureUpstream},
		{name: "time is up", err: context.DeadlineExceeded, want: contracts.FailureUpstream},
		{name: "the caller gave up", err: context.Canceled, want: contracts.FailureUnknown},
		{name: "a deferral", err: contracts.RetryAfter(1, nil), want: contracts.FailureUnknown},
		{
			name: "it never left", err: &unsentError{errors.New("the credentials do not fit")},
			want: contracts.FailureUnknown,
		},
		{
			name: "the provider knows better", provider: opinionated{}, status: 403, body: "rate limit",
			want: contracts.FailureThrottle,
		},
		{
			name: "an error inside a success", provider: opinionated{}, status: 200, body: "limit",
			want: contracts.FailureThrottle,
		},
		{
			name: "the provider has no opinion", provider: opinionated{}, status: 403, body: "no",
			want: contracts.FailureClient,
		},
		{name: "a class that there is none of", provider: inventive{}, status: 404, want: contracts.FailureUnknown},
		{name: "such a class of a success", provider: inventive{}, status: 200, want: contracts.FailureUnknown},
		{name: "a success without an error inside", provider: opinionated{}, status: 200, body: "fine"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			body := strings.Repeat("x", 2*excerptBytes)
			if test.body != "" {
				body = test.body + body
			}
			var res *http.Response
			if test.err == nil {
				res = &http.Response{StatusCode: test.status, Body: io.NopCloser(strings.NewReader(body))}
			}
			got := judge(test.provider, res, test.err)
			if got.class != test.want {
				t.Errorf("the class is %q, want %q", got.class, test.want)
			}
			if (got.class == "") != (got.err == nil) {
				t.Errorf("class %q comes with the error %v", got.class, got.err)
			}
			if res == nil {
				return
			}
			rest, err := io.ReadAll(res.Body)
			if err != nil || string(rest) != body {
				t.Errorf("after the judgement %d bytes of %d can be read: %v", len(rest), len(body), err)
			}
		})
	}
}
