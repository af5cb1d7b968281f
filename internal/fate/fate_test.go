package fate_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/internal/deferral"
	"github.com/tributaryhq/tributary/internal/fate"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/suspects"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

var policy = fate.Policy{
	Tries: 3, Backoff: []time.Duration{time.Second, time.Minute}, Waits: deferral.Default(),
	Window: 6 * time.Hour,
}

var errBroken = errors.New("broken")

func TestFates(t *testing.T) {
	t.Parallel()
	generous := policy
	generous.Tries = 100
	deferrals := policy
	deferrals.DeferralsOnly = true
	within := func(err error) error { return fmt.Errorf("handle: %w", err) }
	for name, test := range map[string]struct {
		err    error
		policy fate.Policy
		before fate.History
		want   fate.Fate
		// failure is the fate of what can't be skipped, if that differs.
		failure *fate.Fate
	}{
		"done": {err: nil, policy: policy, want: fate.Fate{Kind: fate.Done}},
		"skipped": {
			err: within(contracts.Skip("old")), policy: policy,
			want: fate.Fate{Kind: fate.Skipped}, failure: &fate.Fate{
				Kind: fate.Again, Failed: true,
				Wait: time.Second,
			},
		},
		"killed its worker": {
			err: suspects.ErrDeadly, policy: policy,
			want: fate.Fate{Kind: fate.Dead, Reason: fate.Poison}, failure: &fate.Fate{
				Kind: fate.Again, Failed: true,
				Wait: time.Second,
			},
		},
		"unstorable": {
			err: within(foreign.ErrUnstorable), policy: policy,
			want:    fate.Fate{Kind: fate.Dead, Reason: fate.Unstorable},
			failure: &fate.Fate{Kind: fate.Again, Failed: true, Wait: time.Second},
		},
		"unstorable and permanent": {
			err: contracts.Permanent(foreign.ErrUnstorable), policy: policy,
			want:    fate.Fate{Kind: fate.Dead, Reason: fate.Unstorable},
			failure: &fate.Fate{Kind: fate.Dead, Reason: fate.Permanent},
		},
		"permanent": {
			err: within(contracts.Permanent(errBroken)), policy: policy,
			want: fate.Fate{Kind: fate.Dead, Reason: fate.Permanent},
		},
		"failed once": {err: errBroken, policy: policy, want: fate.Fate{
			Kind: fate.Again, Failed: true,
			Wait: time.Second,
		}},
		"failed after deferrals": {
			err: errBroken, policy: policy, before: fate.History{Deferrals: 9},
			want: fate.Fate{Kind: fate.Again, Failed: true, Wait: time.Second},
		},
		"failed twice": {
			err: errBroken, policy: policy, before: fate.History{Tries: 1},
			want: fate.Fate{Kind: fate.Again, Failed: true, Wait: time.Minute},
		},
		"failed for the last time": {
			err: errBroken, policy: policy, before: fate.History{Tries: 2},
			want: fate.Fate{Kind: fate.Dead, Reason: fate.Tries, Failed: true, Wait: time.Minute},
		},
		"failed more often": {
			err: errBroken, policy: generous, before: fate.History{Tries: 50},
			want: fate.Fate{Kind: fate.Again, Failed: true, Wait: time.Minute},
		},
		"failed late": {
			err: errBroken, policy: policy, before: fate.History{Age: 6 * time.Hour},
			want: fate.Fate{Kind: fate.Dead, Reason: fate.Window, Failed: true, Wait: time.Second},
		},
		"failed just in time": {
			err: errBroken, policy: policy,
			before: fate.History{Age: 6*time.Hour - time.Second}, want: fate.Fate{
				Kind: fate.Again, Failed: true,
				Wait: time.Second,
			},
		},
		"failed late, no matter": {
			err: errBroken, policy: deferrals, before: fate.History{Age: 6 * time.Hour},
			want: fate.Fate{Kind: fate.Again, Failed: true, Wait: time.Second},
		},
		"deferred": {
			err: within(contracts.RetryAfter(time.Minute, errBroken)), policy: policy,
			want: fate.Fate{Kind: fate.Again, Wait: time.Minute, Cause: deferral.Patience},
		},
		"deferred after all tries": {
			err: contracts.RetryAfter(time.Minute, errBroken), policy: policy,
			before: fate.History{Tries: 2}, want: fate.Fate{
				Kind: fate.Again, Wait: time.Minute,
				Cause: deferral.Patience,
			},
		},
		"deferred again": {
			err: contracts.RetryAfter(0, contracts.ErrBudgetExhausted), policy: policy,
			before: fate.History{Deferrals: 3}, want: fate.Fate{
				Kind: fate.Again, Wait: 8 * time.Second,
				Cause: deferral.Budget,
			},
		},
		"deferred for years": {
			err: contracts.RetryAfter(1<<62, errBroken), policy: policy,
			want: fate.Fate{Kind: fate.Again, Wait: time.Hour, Cause: deferral.Patience, Asked: 1 << 62},
		},
		"deferred late": {
			err: contracts.RetryAfter(time.Hour, contracts.ErrNoToken), policy: deferrals,
			before: fate.History{Age: 5*time.Hour + 1}, want: fate.Fate{
				Kind: fate.Dead, Reason: fate.Window,
				Wait: time.Hour, Cause: deferral.Token,
			},
		},
		"deferred just in time": {
			err: contracts.RetryAfter(time.Hour, errBroken), policy: policy,
			before: fate.History{Age: 5 * time.Hour}, want: fate.Fate{
				Kind: fate.Again, Wait: time.Hour,
				Cause: deferral.Patience,
			},
		},
		"permanent after a wait": {
			err:    contracts.Permanent(contracts.RetryAfter(time.Hour, errBroken)),
			policy: policy, want: fate.Fate{Kind: fate.Dead, Reason: fate.Permanent},
		},
	} {
		if diff := cmp.Diff(test.want, test.policy.Of(test.err, test.before)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if test.err == nil {
			continue
		}
		want := test.want
		if test.failure != nil {
			want = *test.failure
		}
		if diff := cmp.Diff(want, test.policy.OfFailure(test.err, test.before)); diff != "" {
			t.Errorf("%s, of what can't be skipped: %s", name, diff)
		}
	}
}

func TestSpread(t *testing.T) {
	t.Parallel()
	var shorter, longer int
	for range 200 {
		got := fate.Spread(time.Minute)
		if got < 48*time.Second || got > 72*time.Second {
			t.Errorf("a minute is spread to %s", got)
		}
		if got < time.Minute {
			shorter++
		} else {
			longer++
		}
	}
	if shorter == 0 || longer == 0 {
		t.Errorf("%d waits are shorter, %d longer", shorter, longer)
	}
}
