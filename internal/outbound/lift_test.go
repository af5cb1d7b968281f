package outbound

import (
	"context"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/tributaryhq/tributary/internal/budget"
	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/cells"
	"github.com/tributaryhq/tributary/internal/deferral"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// TestLiftEndsWaitsInPlace has a request wait in place as the upstream asked, for 10 minutes or, where the upstream
// names no time, for 30 s. An operator lifts that in another process, and the request is sent again.
func TestLiftEndsWaitsInPlace(t *testing.T) {
	for name, test := range map[string]struct {
		header http.Header
		after  time.Duration
	}{
		"with a time":    {header: http.Header{"Retry-After": {"600"}}, after: 3 * time.Minute},
		"without a time": {header: http.Header{}, after: 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			twoProcesses(t, func(t *testing.T, one, other *budget.Budgets) {
				t.Helper()
				sent := 0
				base := trip(func(req *http.Request) (*http.Response, error) {
					if sent++; sent == 1 {
						return &http.Response{
							StatusCode: http.StatusTooManyRequests, Header: test.header,
							Body: http.NoBody, Request: req,
						}, nil
					}
					return &http.Response{
						StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody,
						Request: req,
					}, nil
				})
				in := contracts.NewIntegration(contracts.IntegrationFields{ID: "i", Provider: "p"})
				target := Target{Provider: slowly{}, Integration: func() *contracts.Integration { return in }}
				ctx := WithPatience(t.Context(), &Patience{
					Most: 2 * time.Hour, Bounds: deferral.Default(),
					Waits: func(time.Time, error) (func(), bool) { return func() {}, true },
				})
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://upstream.example/", http.NoBody)
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				time.AfterFunc(test.after, func() {
					if err := other.Lift(t.Context(), target.Provider, in); err != nil {
						t.Error(err)
					}
				})
				res, err := Config{Base: base, Budgets: one}.Chain(target).RoundTrip(req)
				if err != nil || res.StatusCode != http.StatusOK || sent != 2 {
					t.Fatalf("%d requests, the last ended with %v (%v)", sent, res, err)
				}
				if took := time.Since(began); took < test.after || took > test.after+lookAgain+time.Second {
					t.Errorf("it was sent again after %s, want within %s of %s", took, lookAgain, test.after)
				}
			})
		})
	}
}

// twoProcesses runs f in fake time with the budgets of two processes.
func twoProcesses(t *testing.T, f func(t *testing.T, one, other *budget.Budgets)) {
	t.Helper()
	natstest.Bubble(t, func(t *testing.T) {
		server := natstest.New(t)
		ctx, stop := context.WithCancel(t.Context())
		var group errgroup.Group
		var both [2]*budget.Budgets
		for i := range both {
			b, err := bus.New(server.Connect(), bus.Options{Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			if err := b.Apply(t.Context()); err != nil {
				t.Fatal(err)
			}
			shared, err := b.Cells(t.Context(), wire.BucketLimits)
			if err != nil {
				t.Fatal(err)
			}
			both[i] = newBudgets(t, shared, b.Clock(wire.BucketLimits))
			group.Go(func() error { return both[i].Run(ctx) })
		}
		f(t, both[0], both[1])
		stop()
		if err := group.Wait(); err != nil {
			t.Error(err)
		}
	})
}

func newBudgets(t *testing.T, shared cells.Cells, clock cells.Clock) *budget.Budgets {
	t.Helper()
	metrics, err := budget.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return budget.New(shared, clock, slog.New(slog.DiscardHandler), metrics, time.Now)
}

// slowly is a provider without a budget of its own.
type slowly struct{ contracts.Provider }
