package budget

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// TestUsageOfATry has tries send requests until their budget refuses one: each is told of its own requests alone.
func TestUsageOfATry(t *testing.T) {
	inBubble(t, func(t *testing.T, server *natstest.Server, one, other *Budgets) {
		elapse(time.Until(windowAt(time.Now(), time.Hour).Add(time.Hour)))
		limit := contracts.PerHour(100)
		if requests, by, ok := used(t, one, limit, 40).Exhausted(); ok {
			t.Errorf("a try that was refused nothing: %d requests, %+v", requests, by)
		}
		for name, b := range map[string]*Budgets{"the first process": one, "another": other} {
			elapse(time.Hour)
			begun := used(t, b, limit, 7)
			requests, by, ok := used(t, b, limit, 200).Exhausted()
			if want := (Exhausted{Budget: "p.i", Limit: *limit}); !ok || requests != 93 || by != want {
				t.Errorf("%s: %d requests, %+v, %t; want 93 of %+v", name, requests, by, ok, want)
			}
			if requests, _, ok := used(t, b, limit, 1).Exhausted(); !ok || requests != 0 {
				t.Errorf("%s: the next try is told of %d requests, %t; want none", name, requests, ok)
			}
			if _, _, ok := begun.Exhausted(); ok {
				t.Errorf("%s: a try is told of the refusal of another", name)
			}
		}
		elapse(time.Hour)
		if _, _, ok := used(t, one, contracts.Per(5, LongestWait), 20, 2*time.Second).Exhausted(); ok {
			t.Error("a try is told of a budget whose next window it can wait for")
		}
		if _, _, ok := used(t, one, nil, 20).Exhausted(); ok {
			t.Error("a try without a budget was refused")
		}
		server.Stop()
		if _, _, ok := used(t, one, contracts.PerHour(7), 20).Exhausted(); ok {
			t.Error("a try is told of a budget that can't be read")
		}
	})
}

// used is what a try takes that makes up to n requests and ends with the first that is refused, or when its time is up.
func used(t *testing.T, b *Budgets, limit *contracts.RateLimit, n int, within ...time.Duration) *Usage {
	t.Helper()
	u := &Usage{}
	ctx := WithUsage(t.Context(), u)
	for _, d := range within {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	for range n {
		if err := b.Admit(ctx, "p.i", limit); err != nil {
			if _, deferred := contracts.AsDeferral(err); !deferred && !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			break
		}
	}
	return u
}
