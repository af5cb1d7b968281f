package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// limitVariable is the request budget of guarded, such as 10/4s; empty for none.
const limitVariable = "TRIBUTARY_E2E_LIMIT"

// guarded is feed with a budget, and with handlers that ask the test through the integration's client.
type guarded struct{ feed }

func (guarded) Name() string { return "Guarded" }

func (guarded) DefaultRateLimit() *contracts.RateLimit {
	requests, window, _ := strings.Cut(os.Getenv(limitVariable), "/")
	n, err := strconv.Atoi(requests)
	if err != nil {
		return nil
	}
	d, err := time.ParseDuration(window)
	if err != nil {
		return nil
	}
	return contracts.Per(n, d)
}

// BudgetKey has all integrations of a test share one budget.
func (guarded) BudgetKey(*contracts.Integration) string { return "the app" }

// wantTries fails unless each handling of a record says the try that it has to: one more than there were failures before. What had to wait for a budget,
// a circuit or the upstream's patience has spent none.
func (w *world) wantTries(isFailure func(handling) bool) {
	w.t.Helper()
	failures := map[string]int{}
	for _, h := range w.handlings("") {
		if want := failures[h.Entry.ID] + 1; h.Try != want {
			w.t.Errorf("%s was handled as try %d, want %d", h.Entry.ID, h.Try, want)
		}
		if isFailure(h) {
			failures[h.Entry.ID]++
		}
	}
}

// A throttling upstream gets what it asks for: items wait, and spend no try.
func TestThrottledItemsSpendNoTry(t *testing.T) {
	w := newSteadyWorld(t)
	w.fill(16)
	var calm atomic.Bool
	w.setJudge(func(h handled) verdict {
		if calm.Load() {
			return verdict{}
		}
		return verdict{Status: http.StatusTooManyRequests, Wait: "1"}
	})
	w.startAll()
	id := w.create("one", "guarded")
	w.await("the upstream to be asked seven times over", func() bool { return len(w.handlings("r1")) >= 7 })
	calm.Store(true)
	w.wantRun(w.awaitClosed(id, 1), "succeeded", 16, 0)
	w.wantCursor(id, "16")
	w.wantTries(func(handling) bool { return false })
}

// A throttled enumeration waits where it is, and spends no try.
func TestThrottledEnumerationWaitsInPlace(t *testing.T) {
	w := newSteadyWorld(t)
	w.fill(40)
	var calm atomic.Bool
	w.setOnPage(func(int64, int) int { return statusIf(!calm.Load(), http.StatusTooManyRequests) })
	w.startAll()
	id := w.create("one", "guarded")
	var first int32
	w.await("the enumeration", func() bool {
		if runs := w.runs(id); len(runs) > 0 {
			first = runs[0].Attempt
		}
		return first > 0
	})
	w.await("the upstream to be asked seven times over", func() bool { return w.requests() >= 7 })
	calm.Store(true)
	run := w.awaitClosed(id, 1)
	w.wantRun(run, "succeeded", 40, 0)
	if run.Tries != 1 || run.Attempts != 1 {
		t.Errorf("the run took %d tries and %d attempts, want 1 and 1", run.Tries, run.Attempts)
	}
	if n := slices.IndexFunc(w.handlings(""), func(h handling) bool { return h.Try != 1 }); n >= 0 {
		t.Errorf("%s was handled as try %d", w.handlings("")[n].Entry.ID, w.handlings("")[n].Try)
	}
}

// TestExhaustedBudget has four integrations of one app share a budget that is too small: items and an enumeration at least wait for the next window, which the
// run says. Nobody spends a try, and never are more requests sent than there are in a window.
func TestExhaustedBudget(t *testing.T) {
	const limit, window = 20, 20 * time.Second
	w := newSteadyWorld(t)
	w.env = append(w.env, fmt.Sprintf("%s=%d/%s", limitVariable, limit, window))
	w.fill(25)
	w.startAll()
	warm := newUpstream(t)
	warm.fill(1)
	w.awaitClosed(w.createAt(warm, "warm", "feed"), 1) // the services run
	// A wait of less than 10 s is none that anybody sees, so the budget is used up early in a window. The broker's clock is this machine's.
	w.await("the beginning of a window", func() bool { return time.Now().UnixNano()%int64(window) < int64(3*time.Second) })
	end := time.Unix(0, (time.Now().UnixNano()/int64(window)+1)*int64(window))
	first := w.create("first", "guarded")
	// The last units may be leased to a process that does not need them, and come back when all have gone to wait.
	w.await("the budget to be used up but for some", func() bool { return w.sent() >= limit-4 })
	all := []*upstream{w.upstream}
	others := map[uuid.UUID]*upstream{}
	for n := range 3 {
		u := newUpstream(t)
		u.fill(1)
		all = append(all, u)
		others[w.createAt(u, fmt.Sprint("other-", n), "guarded")] = u
	}
	w.await("an enumeration to say until when it waits", func() bool {
		for id := range others {
			if runs := w.runs(id); len(runs) > 0 && runs[0].WaitingUntil != nil {
				if early := end.Sub(*runs[0].WaitingUntil); early > time.Second || !strings.Contains(runs[0].Error.String(), contracts.ErrBudgetExhausted.Error()) {
					t.Errorf("it waits until %s, %s before the end of the window, and says %q", runs[0].WaitingUntil, early, runs[0].Error)
				}
				return true
			}
		}
		return false
	})
	sent := 0
	for _, u := range all {
		sent += u.sent()
	}
	if time.Now().Before(end) && sent > limit {
		t.Errorf("%d requests were sent in a window of %d", sent, limit)
	}
	w.wantRun(w.awaitClosed(first, 1), "succeeded", 25, 0)
	w.wantTries(func(handling) bool { return false })
	for id := range others {
		run := w.awaitClosed(id, 1)
		w.wantRun(run, "succeeded", 1, 0)
		if run.Tries != 1 {
			t.Errorf("a run took %d tries, want 1", run.Tries)
		}
	}
}

// sent counts the requests that the upstream has had.
func (u *upstream) sent() int { return u.requests() + len(u.handlings("")) }
