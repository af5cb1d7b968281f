package budget

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// budgetsOf are one process's budgets, whose clock is wrong by skew.
func budgetsOf(t testing.TB, nc *nats.Conn, skew time.Duration) *Budgets {
	t.Helper()
	now := func() time.Time { return time.Now().Add(skew) }
	b, err := bus.New(nc, bus.Options{Log: slog.New(slog.DiscardHandler), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	cells, err := b.Cells(t.Context(), wire.BucketLimits)
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return New(cells, b.Clock(wire.BucketLimits), slog.New(slog.DiscardHandler), metrics, now)
}

// grant is a unit that was taken at a moment between two of the true clock.
type grant struct{ After, Before time.Time }

// takeAll takes units from several goroutines until enough says that it is enough.
func takeAll(
	ctx context.Context, b *Budgets, limit contracts.RateLimit, goroutines int, enough func([]grant) bool,
) ([]grant, error) {
	var mu sync.Mutex
	var grants []grant
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	account := b.account("p.shared", limit)
	var group errgroup.Group
	for range goroutines {
		group.Go(func() error {
			for ctx.Err() == nil {
				after := time.Now()
				again, err := account.take(ctx)
				taken := grant{After: after, Before: time.Now()}
				switch {
				// a broker that takes too long grants nothing
				case ctx.Err() != nil, errors.Is(err, context.DeadlineExceeded):
				case err != nil:
					return err
				case again.IsZero():
					mu.Lock()
					grants = append(grants, taken)
					if enough(grants) {
						stop()
					}
					mu.Unlock()
				default:
					_ = sleep(ctx, min(max(again.Sub(b.earliest()), time.Millisecond), askAgain))
				}
			}
			return nil
		})
	}
	err := group.Wait()
	return grants, err
}

// checkGrants fails if there was ever one grant too many. A grant that may have been in either of two windows is left
// out, so that only what is certain counts, however slow the machine is.
func checkGrants(t *testing.T, limit contracts.RateLimit, grants []grant) (perWindow map[time.Time]int64) {
	t.Helper()
	slices.SortFunc(grants, func(a, b grant) int { return a.After.Compare(b.After) })
	byWindow := map[time.Time][]grant{}
	for _, g := range grants {
		if start := windowAt(g.After, limit.Window); windowAt(g.Before, limit.Window).Equal(start) {
			// Round takes the running time away, which would tell equal times apart.
			start = start.Round(0).UTC()
			byWindow[start] = append(byWindow[start], g)
		}
	}
	perWindow = map[time.Time]int64{}
	for start, within := range byWindow {
		perWindow[start] = int64(len(within))
		if len(within) > limit.Limit {
			t.Errorf("%d grants in the window of %s, the limit is %d", len(within), start, limit.Limit)
		}
		if !limit.IsSliding {
			continue
		}
		previous := int64(len(byWindow[start.Add(-limit.Window)]))
		ends := slices.Clone(within)
		slices.SortFunc(ends, func(a, b grant) int { return a.Before.Compare(b.Before) })
		for _, g := range within {
			before, _ := slices.BinarySearchFunc(ends, g.After, func(e grant, at time.Time) int {
				return cmp.Compare(e.Before.UnixNano(), at.UnixNano())
			})
			estimate := int64(before) + weighed(previous, limit.Window-g.Before.Sub(start), limit.Window)
			if estimate >= int64(limit.Limit) {
				t.Errorf("a grant at an estimate of %d, the limit is %d", estimate, limit.Limit)
			}
		}
	}
	return perWindow
}

// TestBudgetIsExact has several clients with wrong clocks at one budget.
func TestBudgetIsExact(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]*contracts.RateLimit{
		"fixed": contracts.Per(60, time.Second), "sliding": contracts.Per(60, time.Second).Sliding(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := natstest.New(t)
			var group errgroup.Group
			var mu sync.Mutex
			var all []grant
			for _, skew := range []time.Duration{0, 300 * time.Millisecond, -time.Hour, 24 * time.Hour} {
				b := budgetsOf(t, server.Connect(), skew)
				group.Go(func() error {
					grants, err := takeAll(t.Context(), b, *limit, 8, func(g []grant) bool { return len(g) >= 40 })
					mu.Lock()
					defer mu.Unlock()
					all = append(all, grants...)
					return err
				})
			}
			if err := group.Wait(); err != nil {
				t.Fatal(err)
			}
			checkGrants(t, *limit, all)
		})
	}
}

// inBubble runs f in fake time with the budgets of two processes.
func inBubble(t *testing.T, f func(t *testing.T, server *natstest.Server, one, other *Budgets)) {
	t.Helper()
	natstest.Bubble(t, func(t *testing.T) {
		server := natstest.New(t)
		one, other := budgetsOf(t, server.Connect(), 0), budgetsOf(t, server.Connect(), time.Minute)
		ctx, stop := context.WithCancel(t.Context())
		var group errgroup.Group
		for _, b := range []*Budgets{one, other} {
			group.Go(func() error { return b.Run(ctx) })
		}
		f(t, server, one, other)
		stop()
		if err := group.Wait(); err != nil {
			t.Error(err)
		}
	})
}

// admitted has requests admitted until one is put off, and returns how many were and for how long the other is.
func admitted(t *testing.T, b *Budgets, limit *contracts.RateLimit) (n int, putOff time.Duration) {
	t.Helper()
	for {
		err := b.Admit(t.Context(), "p.i", limit)
		if err == nil {
			n++
			continue
		}
		deferral, ok := contracts.AsDeferral(err)
		if !ok || !errors.Is(err, contracts.ErrBudgetExhausted) {
			t.Fatal(err)
		}
		return n, deferral.Delay
	}
}

func TestFixedWindow(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *natstest.Server, one, other *Budgets) {
		limit := contracts.PerHour(100)
		elapse(time.Until(windowAt(time.Now(), time.Hour).Add(time.Hour + 20*time.Minute)))
		first, putOff := admitted(t, one, limit)
		// What the first process has leased and not used is back by then.
		second, _ := admitted(t, other, limit)
		if first+second != 100 {
			t.Errorf("%d and %d requests were admitted, want 100", first, second)
		}
		if want := 40 * time.Minute; putOff < want || putOff > want+time.Second {
			t.Errorf("put off for %s, want %s", putOff, want)
		}
		elapse(putOff)
		if n, _ := admitted(t, other, limit); n != 100 {
			t.Errorf("%d requests were admitted in the next window, want 100", n)
		}
		// Another length is another count.
		if n, _ := admitted(t, one, contracts.PerDay(7)); n != 7 {
			t.Errorf("%d requests were admitted of another budget, want 7", n)
		}
	})
}

func TestSlidingWindow(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *natstest.Server, one, _ *Budgets) {
		limit := contracts.PerHour(60).Sliding()
		start := windowAt(time.Now(), time.Hour).Add(time.Hour)
		elapse(time.Until(start.Add(30 * time.Minute)))
		n, putOff := admitted(t, one, limit)
		// The first unit has decayed a minute into the next window.
		if want := 31 * time.Minute; n != 60 || putOff < want || putOff > want+time.Second {
			t.Errorf("%d requests were admitted, the next in %s; want 60 and %s", n, putOff, want)
		}
		elapse(time.Until(start.Add(time.Hour + 10*time.Minute + time.Second)))
		if n, _ := admitted(t, one, limit); n != 10 {
			t.Errorf("%d requests were admitted after ten minutes, want 10", n)
		}
	})
}

func TestWaitsInPlaceForAShortTime(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *natstest.Server, one, _ *Budgets) {
		limit := contracts.Per(5, 4*time.Second)
		started := time.Now()
		for range 25 {
			if err := one.Admit(t.Context(), "p.i", limit); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(started); took < 16*time.Second || took > 21*time.Second {
			t.Errorf("25 requests took %s, want four windows", took)
		}
		// A context that ends before is not waited out.
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		before := time.Now()
		if err := one.Admit(ctx, "p.i", limit); !errors.Is(err, contracts.ErrBudgetExhausted) ||
			time.Since(before) > 0 {
			t.Errorf("got %v after %s", err, time.Since(before))
		}
	})
}

func TestUpstreamWantsToBeLeftAlone(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *natstest.Server, one, other *Budgets) {
		ctx := t.Context()
		for _, limit := range []*contracts.RateLimit{nil, contracts.PerHour(1000)} {
			if err := other.Admit(ctx, "p.i", limit); err != nil {
				t.Fatal(err)
			}
			one.Learn(ctx, "p.i", limit, contracts.RateReport{Remaining: 0, Reset: 5 * time.Minute})
			elapse(time.Second)
			for name, b := range map[string]*Budgets{"the process that heard it": one, "another": other} {
				_, putOff := admitted(t, b, limit)
				if want := 5*time.Minute - time.Second; (putOff - want).Abs() > 100*time.Millisecond {
					t.Errorf("%s puts off for %s, want %s", name, putOff, want)
				}
			}
			elapse(5 * time.Minute)
			if err := other.Admit(ctx, "p.i", limit); err != nil {
				t.Errorf("after five minutes: %v", err)
			}
		}
	})
}

func TestUpstreamAllowsLess(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *natstest.Server, one, other *Budgets) {
		limit := contracts.PerHour(1000)
		elapse(time.Until(windowAt(time.Now(), time.Hour).Add(time.Hour)))
		if err := one.Admit(t.Context(), "p.i", limit); err != nil {
			t.Fatal(err)
		}
		one.Learn(t.Context(), "p.i", limit, contracts.RateReport{Remaining: 20, Reset: 15 * time.Minute})
		first, putOff := admitted(t, one, limit)
		second, _ := admitted(t, other, limit)
		if first+second != 20 || (putOff-15*time.Minute).Abs() > time.Second {
			t.Errorf("%d and %d requests were admitted, then put off for %s; want 20 and 15m", first, second, putOff)
		}
		elapse(putOff)
		if n, _ := admitted(t, other, limit); n != 1000-21 {
			t.Errorf("%d requests were admitted after that, want %d", n, 1000-21)
		}
	})
}

// Without the broker nobody knows what is spent, so nothing leaves beyond what was leased.
func TestBrokerAway(t *testing.T) {
	inBubble(t, func(t *testing.T, server *natstest.Server, one, _ *Budgets) {
		limit := contracts.PerHour(100)
		server.Stop()
		if n, putOff := admitted(t, one, limit); n != 0 || putOff != awayFor {
			t.Errorf("%d requests were admitted, then put off for %s", n, putOff)
		}
		if err := one.Admit(t.Context(), "p.i", nil); err != nil {
			t.Errorf("a request without a budget: %v", err)
		}
		server.Start()
		for deadline := time.Now().Add(time.Minute); one.Admit(t.Context(), "p.i", limit) != nil; elapse(time.Second) {
			if time.Now().After(deadline) {
				t.Fatal("nothing is admitted though the broker is back")
			}
		}
	})
}

// A lease that is not used goes back.
func TestGiveBack(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *natstest.Server, one, other *Budgets) {
		limit := contracts.PerHour(64)
		elapse(time.Until(windowAt(time.Now(), time.Hour).Add(time.Hour)))
		for range 10 {
			if err := one.Admit(t.Context(), "p.i", limit); err != nil {
				t.Fatal(err)
			}
		}
		elapse(2 * idleAfter)
		if n, _ := admitted(t, other, limit); n != 54 {
			t.Errorf("%d requests were admitted elsewhere, want 54", n)
		}
	})
}

// What is left of a lease when its window ends is worth nothing in the next.
func TestLeaseEndsWithItsWindow(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *natstest.Server, one, other *Budgets) {
		limit := contracts.PerHour(200)
		elapse(time.Until(windowAt(time.Now(), time.Hour).Add(2*time.Hour - 100*time.Millisecond)))
		for range 20 {
			if err := one.Admit(t.Context(), "p.i", limit); err != nil {
				t.Fatal(err)
			}
		}
		if left := one.account("p.i", *limit).lease.units; left == 0 {
			t.Fatal("nothing is left of the lease, so that there is nothing to test")
		}
		elapse(200 * time.Millisecond)
		first, _ := admitted(t, one, limit)
		second, _ := admitted(t, other, limit)
		if first+second != 200 {
			t.Errorf("%d and %d requests were admitted, want 200", first, second)
		}
	})
}
