package outbound

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tributaryhq/tributary/internal/deferral"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// TestPatience has requests wait in place. next answers the n-th request, counted from 1, at a time since the first.
func TestPatience(t *testing.T) {
	t.Parallel()
	ok := &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}
	for name, test := range map[string]struct {
		next   func(n int, since time.Duration) error
		refuse bool
		key    string
		limit  time.Duration
		// sent is how many requests are made, took how long all takes.
		sent int
		took time.Duration
		want error
	}{
		"nothing to wait for": {next: func(int, time.Duration) error { return nil }, sent: 1},
		"a budget": {
			next: func(_ int, since time.Duration) error {
				if since < 40*time.Minute {
					return contracts.RetryAfter(40*time.Minute-since, contracts.ErrBudgetExhausted)
				}
				return nil
			},
			sent: 40*60/5 + 1, took: 40 * time.Minute,
		},
		"a circuit that is closed early": {
			next: func(n int, _ time.Duration) error {
				if n < 4 {
					return contracts.RetryAfter(time.Hour, contracts.ErrCircuitOpen)
				}
				return nil
			},
			sent: 4, took: 15 * time.Second,
		},
		"what the upstream asks is not asked again early": {
			next: func(n int, _ time.Duration) error {
				if n < 4 {
					return contracts.RetryAfter(time.Minute, errors.New("429"))
				}
				return nil
			},
			sent: 4, took: 3 * time.Minute,
		},
		"for ever and at once": {
			next: func(int, time.Duration) error { return contracts.RetryAfter(0, contracts.ErrNoToken) },
			sent: 75, took: 63*time.Second + 68*time.Minute, want: contracts.ErrNoToken,
		},
		"for too long": {next: func(int, time.Duration) error {
			return contracts.RetryAfter(71*time.Minute, contracts.ErrNoToken)
		}, sent: 1, want: contracts.ErrNoToken},
		"no place": {next: func(int, time.Duration) error {
			return contracts.RetryAfter(time.Minute, contracts.ErrNoToken)
		}, refuse: true, sent: 1, want: contracts.ErrNoToken},
		"with a key": {next: func(int, time.Duration) error {
			return contracts.RetryAfter(time.Minute, contracts.ErrNoToken)
		}, key: "k", sent: 1, want: contracts.ErrNoToken},
		"another error": {next: func(int, time.Duration) error { return errTest }, sent: 1, want: errTest},
		"a deadline near": {next: func(int, time.Duration) error {
			return contracts.RetryAfter(time.Minute, contracts.ErrNoToken)
		}, limit: 30 * time.Second, sent: 1, want: contracts.ErrNoToken},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began, sent, waiting := time.Now(), 0, 0
				p := newPatient(func(*http.Request) (*http.Response, error) {
					sent++
					if err := test.next(sent, time.Since(began)); err != nil {
						return nil, err
					}
					return ok, nil
				})
				ctx := WithPatience(t.Context(), &Patience{
					Most: 70 * time.Minute, Bounds: deferral.Default(),
					Waits: func(time.Time, error) (func(), bool) {
						waiting++
						return func() { waiting-- }, !test.refuse
					},
				})
				if test.key != "" {
					var err error
					if ctx, err = contracts.WithIdempotencyKey(ctx, test.key); err != nil {
						t.Fatal(err)
					}
				}
				if test.limit > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, test.limit)
					defer cancel()
				}
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://upstream/", nil)
				if err != nil {
					t.Fatal(err)
				}
				res, err := (&begin{next: p}).RoundTrip(req)
				if !errors.Is(err, test.want) || (err == nil) != (res != nil) {
					t.Errorf("it ends with %v, want %v", err, test.want)
				}
				if took := time.Since(began); sent != test.sent || took != test.took {
					t.Errorf("%d requests in %s, want %d in %s", sent, took, test.sent, test.took)
				}
				if waiting != 0 && !test.refuse {
					t.Errorf("%d waits were begun and not ended", waiting)
				}
			})
		})
	}
}

var errTest = errors.New("broken")

// newPatient is a patient transport for which no cause ends early.
func newPatient(next trip) *patient {
	in := contracts.NewIntegration(contracts.IntegrationFields{})
	return &patient{
		now: time.Now, next: next, integration: func() *contracts.Integration {
			return in
		}, lifted: func() uint64 { return 0 },
	}
}

// TestPatienceEndsWithItsCause has a request wait in place for an hour. 122 seconds after it was sent, a new token
// arrives or an operator lifts what the upstream has asked for: only the end of its own cause ends the wait.
func TestPatienceEndsWithItsCause(t *testing.T) {
	t.Parallel()
	const at, soon, whole = 122 * time.Second, 125 * time.Second, time.Hour
	for name, test := range map[string]struct {
		cause         error
		token, lifted bool
		took          time.Duration
	}{
		"a new token":                           {cause: contracts.ErrNoToken, token: true, took: soon},
		"lifted":                                {cause: errTest, lifted: true, took: soon},
		"a new token for what an upstream asks": {cause: errTest, token: true, took: whole},
		"lifted, but there is no token":         {cause: contracts.ErrNoToken, lifted: true, took: whole},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				sent := 0
				p := newPatient(func(*http.Request) (*http.Response, error) {
					if sent++; sent == 1 {
						return nil, contracts.RetryAfter(time.Hour, test.cause)
					}
					return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
				})
				began, old, renewed := time.Now(), p.integration(),
					contracts.NewIntegration(contracts.IntegrationFields{})
				p.integration = func() *contracts.Integration {
					if test.token && time.Since(began) >= at {
						return renewed
					}
					return old
				}
				p.lifted = func() uint64 {
					if test.lifted && time.Since(began) >= at {
						return 7
					}
					return 3
				}
				ctx := WithPatience(t.Context(), &Patience{
					Most: 2 * time.Hour, Bounds: deferral.Default(),
					Waits: func(time.Time, error) (func(), bool) { return func() {}, true },
				})
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://upstream/", nil)
				if err != nil {
					t.Fatal(err)
				}
				res, err := (&begin{next: p}).RoundTrip(req)
				if took := time.Since(began); err != nil || res == nil || sent != 2 || took != test.took {
					t.Errorf("%d requests in %s (%v), want 2 in %s", sent, took, err, test.took)
				}
			})
		})
	}
}

// A request that waits ends when the work that it is for is told to stop.
func TestPatienceEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, cancel)
		p := newPatient(func(*http.Request) (*http.Response, error) {
			return nil, contracts.RetryAfter(time.Hour, contracts.ErrNoToken)
		})
		req, err := http.NewRequestWithContext(WithPatience(ctx, &Patience{
			Most: 2 * time.Hour, Bounds: deferral.Default(), Waits: func(time.Time, error) (func(), bool) {
				return func() {}, true
			},
		}), http.MethodGet, "http://upstream/", nil)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, err := p.RoundTrip(req); !errors.Is(err, context.Canceled) || time.Since(began) != time.Minute {
			t.Errorf("it ends with %v after %s", err, time.Since(began))
		}
	})
}
