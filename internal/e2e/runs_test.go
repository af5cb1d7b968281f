package e2e_test

import (
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/pkg/events"
)

// The rows of the table "What happens when" of the sync protocol, one test each. Here: how a run goes through and how it ends.

func TestItemsAreHandledAndTheCursorMoves(t *testing.T) {
	w := newSteadyWorld(t)
	w.fill(230)
	w.startAll()
	id := w.create("one", "feed")
	run := w.awaitClosed(id, 1)
	w.wantRun(run, "succeeded", 230, 0)
	w.wantCursor(id, "230")
	if n := w.count("", "ok"); n != 230 {
		t.Errorf("%d handlings, want 230", n)
	}

	changed := w.put("r17", "edited")
	w.command(events.VerbSync, "one", "")
	w.wantRun(w.awaitClosed(id, 2), "succeeded", 1, 0)
	w.wantCursor(id, strconv.FormatInt(changed.Seq, 10))
	if got := w.handlings("r17"); len(got) != 2 || got[1].Entry.Body != "edited" {
		t.Errorf("handlings of the edited record: %+v", got)
	}
	w.wantHistory()
}

func TestEnumerationError(t *testing.T) {
	t.Run("is tried again after a back-off", func(t *testing.T) {
		w := newSteadyWorld(t)
		w.fill(120)
		w.setOnPage(func(after int64, requests int) int { return statusIf(requests <= 3, http.StatusInternalServerError) })
		w.startAll()
		id := w.create("one", "feed")
		run := w.awaitClosed(id, 1)
		w.wantRun(run, "succeeded", 120, 0)
		if run.Attempts != 4 {
			t.Errorf("closed by attempt %d, want 4", run.Attempts)
		}
		w.wantHistory()
	})
	t.Run("used up drains and fails", func(t *testing.T) {
		w := newSteadyWorld(t)
		w.fill(120)
		w.setOnPage(func(after int64, _ int) int { return statusIf(after >= 50, http.StatusInternalServerError) })
		w.startAll()
		id := w.create("one", "feed")
		run := w.awaitClosed(id, 1)
		if run.State != "failed" || run.Attempts != 5 || !strings.Contains(run.Error.String(), "500") {
			t.Errorf("run %s, attempt %d, error %q; want failed, 5, the upstream's status", run.State, run.Attempts, run.Error)
		}
		w.wantCursor(id, "")
		for _, h := range w.handlings("") {
			if h.Entry.Seq > 50 {
				t.Fatalf("handled %d, which was never enumerated", h.Entry.Seq)
			}
		}
		if in := w.integration(id); in.ConsecutiveSyncFailures != 1 || in.LastSyncedAt != nil {
			t.Errorf("failures %d, last synced %v; want 1 and never", in.ConsecutiveSyncFailures, in.LastSyncedAt)
		}
	})
	t.Run("permanent fails at once", func(t *testing.T) {
		w := newSteadyWorld(t)
		w.setOnPage(func(int64, int) int { return http.StatusForbidden })
		w.startAll()
		run := w.awaitClosed(w.create("one", "feed"), 1)
		if run.State != "failed" || run.Attempts != 1 {
			t.Errorf("run %s at attempt %d, want failed at 1", run.State, run.Attempts)
		}
	})
	t.Run("a deferral takes no try", func(t *testing.T) {
		w := newSteadyWorld(t)
		w.fill(10)
		w.setOnPage(func(_ int64, requests int) int { return statusIf(requests <= 7, http.StatusTooManyRequests) })
		w.startAll()
		run := w.awaitClosed(w.create("one", "feed"), 1)
		w.wantRun(run, "succeeded", 10, 0)
		if run.Attempts != 1 || run.Tries != 1 {
			t.Errorf("attempt %d, tries %d; want 1 and 1: the enumeration waits in place", run.Attempts, run.Tries)
		}
	})
	t.Run("a panic is an error", func(t *testing.T) {
		w := newSteadyWorld(t)
		w.fill(10)
		w.setOnPage(func(_ int64, requests int) int { return statusIf(requests == 1, http.StatusTeapot) })
		w.startAll()
		w.wantRun(w.awaitClosed(w.create("one", "feed"), 1), "succeeded", 10, 0)
	})
}

func TestEmptyRun(t *testing.T) {
	w := newSteadyWorld(t)
	w.startAll()
	id := w.create("one", "feed")
	w.wantRun(w.awaitClosed(id, 1), "succeeded", 0, 0)
	w.wantCursor(id, "")
	if w.integration(id).LastSyncedAt == nil {
		t.Error("last_synced_at did not move")
	}
}

func TestReducerFails(t *testing.T) {
	w := newSteadyWorld(t)
	flag := w.flag()
	w.env = append(w.env, "TRIBUTARY_E2E_REDUCER_FAILS="+flag.path)
	flag.raise()
	w.fill(70)
	w.startAll()
	id := w.create("one", "list")
	run := w.awaitClosed(id, 1)
	if run.State != "failed" || !strings.Contains(run.Error.String(), "reducer is broken") {
		t.Errorf("run %s, error %q", run.State, run.Error)
	}
	w.wantCursor(id, "")
	flag.lower()
	w.command(events.VerbRetry, "one", `{"all":true}`)
	w.await("the late reduce", func() bool { return w.cursor(id) == "70" })
	if n := w.count("", "ok"); n != 70 {
		t.Errorf("%d handlings, want each once", n)
	}
}

func TestSkippedByItsHandlerCounts(t *testing.T) {
	w := newSteadyWorld(t)
	w.fill(30)
	w.setJudge(func(h handled) verdict {
		if h.Entry.Seq > 20 {
			return verdict{Do: "skip"}
		}
		return verdict{}
	})
	w.startAll()
	id := w.create("one", "feed")
	run := w.awaitClosed(id, 1)
	w.wantRun(run, "succeeded", 30, 0)
	if run.Skipped != 10 {
		t.Errorf("%d skipped, want 10", run.Skipped)
	}
	w.wantCursor(id, "30")
}

func TestItemDeferredFiveTimesAndThenDone(t *testing.T) {
	w := newSteadyWorld(t)
	w.fill(60)
	w.setJudge(func(h handled) verdict {
		if h.Entry.ID == "r7" && w.count("r7", "defer") < 5 {
			return verdict{Do: "defer", Delay: 200 * time.Millisecond}
		}
		return verdict{}
	})
	w.startAll()
	id := w.create("one", "feed")
	w.wantRun(w.awaitClosed(id, 1), "succeeded", 60, 0)
	got := w.handlings("r7")
	if len(got) != 6 || got[5].Try != 1 {
		t.Errorf("handlings %+v; want five deferrals and then a first try", got)
	}
	w.wantHistory()
}

func TestRecordsThatChangeWhileTheyAreEnumerated(t *testing.T) {
	w := newSteadyWorld(t)
	w.fill(200)
	var edits atomic.Int64
	w.setOnPage(func(after int64, _ int) int {
		if edits.Add(1) <= 4 {
			w.put("r5", "edited")
			w.put("r150", "edited")
		}
		return 0
	})
	w.startAll()
	id := w.create("one", "feed")
	w.awaitClosed(id, 1)
	w.command(events.VerbSync, "one", "")
	w.awaitClosed(id, 2)
	w.wantCursor(id, strconv.FormatInt(w.newest(), 10))
	w.wantHistory()
}

func statusIf(yes bool, status int) int {
	if yes {
		return status
	}
	return 0
}
