package outbound

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// trip is a transport in a function.
type trip func(*http.Request) (*http.Response, error)

func (t trip) RoundTrip(req *http.Request) (*http.Response, error) { return t(req) }

// answer is a response of a status and a body.
func answer(status int, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)),
		ContentLength: int64(len(body)),
	}
}

// deduping is a provider whose upstream knows idempotency keys.
type deduping struct{ contracts.Provider }

func (deduping) SupportsIdempotency() {}

func TestCall(t *testing.T) {
	t.Parallel()
	keyed, err := contracts.WithIdempotencyKey(t.Context(), "order 7")
	if err != nil {
		t.Fatal(err)
	}
	req := httptest.NewRequestWithContext(keyed, http.MethodGet, "https://api.example.com/", nil)
	var calls []*call
	ask := func(provider contracts.Provider) *call {
		outermost := &begin{provider: provider, next: trip(func(req *http.Request) (*http.Response, error) {
			if callOf(req) != callOf(req.WithContext(req.Context())) {
				t.Error("the concerns of one request see two calls")
			}
			calls = append(calls, callOf(req))
			return answer(http.StatusOK, ""), nil
		})}
		res, err := outermost.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return calls[len(calls)-1]
	}
	first, second := ask(deduping{}), ask(nil)
	if first == second {
		t.Error("two requests with one context share a call")
	}
	if first.key != "order 7" || !first.deduped || first.attempt != 1 {
		t.Errorf("the call is %+v", first)
	}
	if second.key != "order 7" || second.deduped {
		t.Errorf("the call is %+v; its upstream knows no keys", second)
	}
}

// asked counts how often the provider is asked.
type asked struct {
	contracts.Provider
	times *int
}

func (a asked) ClassifyFailure(error) (contracts.FailureClass, bool) {
	*a.times++
	return contracts.FailureThrottle, true
}

func TestCallJudgesOnce(t *testing.T) {
	t.Parallel()
	times := 0
	provider, c := asked{times: &times}, newCall(t.Context(), nil)
	res := answer(http.StatusForbidden, "limit")
	for range 3 {
		if got := c.judge(provider, res, nil); got.class != contracts.FailureThrottle {
			t.Errorf("the class is %q", got.class)
		}
	}
	if times != 1 {
		t.Errorf("the provider was asked %d times about one answer", times)
	}
	// The next attempt is judged afresh.
	if got := c.judge(provider, nil, errors.New("cut")); got.err == nil || got.status != 0 {
		t.Errorf("a failed attempt is judged %+v", got)
	}
	if got := c.judge(provider, answer(http.StatusOK, ""), nil); times != 3 || got.status != http.StatusOK {
		t.Errorf("another answer is judged %+v after %d questions", got, times)
	}
}

// plainProvider is a provider with nothing to say.
type plainProvider struct{ contracts.Provider }

func request(t *testing.T, method, address string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, body)
	if err != nil {
		t.Fatal(err)
	}
	return req
}
