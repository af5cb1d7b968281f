package outbound

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tributaryhq/tributary/internal/budget"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// TestLimiter sends requests until the budget is used up. What it refuses is a deferral, which is counted; a caller
// that gives up is none.
func TestLimiter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cell, metrics := &oneCell{}, must(NewRequestMetrics(prometheus.NewRegistry()))
		in, limit := contracts.NewIntegration(contracts.IntegrationFields{ID: "i", Provider: "p"}), contracts.PerHour(3)
		sent := 0
		sender := &limiter{budgets: newBudgets(t, cell, cell), metrics: metrics, now: time.Now, target: Target{
			Integration: func() *contracts.Integration { return in },
			Settings:    func() Settings { return Settings{Limit: limit} },
		}, base: trip(func(req *http.Request) (*http.Response, error) { sent++; return answering(http.StatusOK)(req) })}
		usage := &budget.Usage{}
		send := func(ctx context.Context) error {
			_, err := sender.RoundTrip(request(t, http.MethodGet, "https://a.example/", nil).WithContext(ctx))
			return err
		}
		for range 3 {
			if err := send(budget.WithUsage(t.Context(), usage)); err != nil {
				t.Fatal(err)
			}
		}
		err := send(budget.WithUsage(t.Context(), usage))
		if _, deferred := contracts.AsDeferral(err); !deferred || !errors.Is(err, contracts.ErrBudgetExhausted) ||
			sent != 3 {
			t.Errorf("%d requests were sent, then %v; want 3 and a deferral", sent, err)
		}
		requests, by, ok := usage.Exhausted()
		if want := (budget.Exhausted{Budget: "p.i", Limit: *limit}); !ok || requests != 3 || by != want {
			t.Errorf("the try is told of %d requests, %+v, %t", requests, by, ok)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := send(ctx); !errors.Is(err, context.Canceled) || !isControl(err) {
			t.Errorf("a caller that has given up gets %v", err)
		}
		if n := testutil.ToFloat64(metrics.refusals.WithLabelValues("p", "budget")); n != 1 {
			t.Errorf("%v refusals are counted, want 1", n)
		}
	})
}

func must[T any](made T, err error) T {
	if err != nil {
		panic(err)
	}
	return made
}
