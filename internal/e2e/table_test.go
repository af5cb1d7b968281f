package e2e_test

import (
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/pkg/events"
)

// The rows of the table "What happens when" of the sync protocol, one test each.

func TestItemsAreHandledAndTheCursorMoves(t *testing.T) {
	w := newWorld(t)
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
		w := newWorld(t)
		w.fill(120)
		w.setOnPage(func(after int64, requests int) int { return statusIf(requests <= 3, http.StatusInternalServerError) })
		w.startAll()
		id := w.create("one", "feed")
		run := w.awaitClosed(id, 1)
		w.wantRun(run, "succeeded", 120, 0)
		if run.Attempt != 4 {
			t.Errorf("closed by attempt %d, want 4", run.Attempt)
		}
		w.wantHistory()
	})
	t.Run("used up drains and fails", func(t *testing.T) {
		w := newWorld(t)
		w.fill(120)
		w.setOnPage(func(after int64, _ int) int { return statusIf(after >= 50, http.StatusInternalServerError) })
		w.startAll()
		id := w.create("one", "feed")
		run := w.awaitClosed(id, 1)
		if run.State != "failed" || run.Attempt != 5 || !strings.Contains(run.Error, "500") {
			t.Errorf("run %s, attempt %d, error %q; want failed, 5, the upstream's status", run.State, run.Attempt, run.Error)
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
		w := newWorld(t)
		w.setOnPage(func(int64, int) int { return http.StatusForbidden })
		w.startAll()
		run := w.awaitClosed(w.create("one", "feed"), 1)
		if run.State != "failed" || run.Attempt != 1 {
			t.Errorf("run %s at attempt %d, want failed at 1", run.State, run.Attempt)
		}
	})
	t.Run("a deferral takes no try", func(t *testing.T) {
		w := newWorld(t)
		w.fill(10)
		w.setOnPage(func(_ int64, requests int) int { return statusIf(requests <= 7, http.StatusTooManyRequests) })
		w.startAll()
		run := w.awaitClosed(w.create("one", "feed"), 1)
		w.wantRun(run, "succeeded", 10, 0)
		if run.Attempt != 8 || run.Tries != 1 {
			t.Errorf("attempt %d, tries %d; want 8 and 1", run.Attempt, run.Tries)
		}
	})
	t.Run("a panic is an error", func(t *testing.T) {
		w := newWorld(t)
		w.fill(10)
		w.setOnPage(func(_ int64, requests int) int { return statusIf(requests == 1, http.StatusTeapot) })
		w.startAll()
		w.wantRun(w.awaitClosed(w.create("one", "feed"), 1), "succeeded", 10, 0)
	})
}

func TestEmptyRun(t *testing.T) {
	w := newWorld(t)
	w.startAll()
	id := w.create("one", "feed")
	w.wantRun(w.awaitClosed(id, 1), "succeeded", 0, 0)
	w.wantCursor(id, "")
	if w.integration(id).LastSyncedAt == nil {
		t.Error("last_synced_at did not move")
	}
}

func TestReducerFails(t *testing.T) {
	w := newWorld(t)
	flag := w.flag()
	w.env = append(w.env, "TRIBUTARY_E2E_REDUCER_FAILS="+flag.path)
	flag.raise()
	w.fill(70)
	w.startAll()
	id := w.create("one", "list")
	run := w.awaitClosed(id, 1)
	if run.State != "failed" || !strings.Contains(run.Error, "reducer is broken") {
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

func TestItemsThatCanNotTravel(t *testing.T) {
	w := newWorld(t)
	w.fill(10)
	w.put("big", "huge")
	w.put("odd", "unencodable")
	w.put("bare", "no checkpoint")
	w.fill(10)
	w.startAll()
	id := w.create("one", "feed")
	run := w.awaitClosed(id, 1)
	w.wantRun(run, "partial", 23, 2)
	w.wantCursor(id, "")
	reasons := map[string]string{}
	for _, d := range w.dead(id) {
		reasons[d.ExternalID] = d.Reason
	}
	if reasons["big"] != "too large" || reasons["odd"] != "unencodable" {
		t.Errorf("reasons %v", reasons)
	}
	if n := w.count("bare", "ok"); n != 1 {
		t.Errorf("the item without a checkpoint was handled %d times, want once", n)
	}
	for _, d := range w.dead(id) {
		w.command(events.VerbSkip, "one", `{"item":"`+d.ID.String()+`","reason":"can't be sent","by":"test"}`)
	}
	w.await("the late reduce", func() bool { return w.cursor(id) == "23" })
}

func TestDeadItem(t *testing.T) {
	judge := func(do string) func(handled) verdict {
		return func(h handled) verdict {
			if h.Entry.ID == "r33" {
				return verdict{Do: do}
			}
			return verdict{}
		}
	}
	t.Run("keeps the cursor until it is retried", func(t *testing.T) {
		w := newWorld(t)
		w.fill(100)
		w.setJudge(judge("fail"))
		w.startAll()
		id := w.create("one", "feed")
		w.wantRun(w.awaitClosed(id, 1), "partial", 100, 1)
		w.wantCursor(id, "")
		if n := w.count("r33", "fail"); n != 5 {
			t.Errorf("tried %d times, want 5", n)
		}
		dead := w.dead(id)
		if len(dead) != 1 || dead[0].Reason != "tries used up" || dead[0].Tries != 5 {
			t.Fatalf("dead items %+v", dead)
		}
		w.setJudge(nil)
		w.command(events.VerbRetry, "one", `{"item":"`+dead[0].ID.String()+`"}`)
		w.await("the late reduce", func() bool { return w.cursor(id) == "100" })
		if run := w.runs(id)[0]; run.Resolution != "resolved" {
			t.Errorf("resolution %q", run.Resolution)
		}
		w.wantHistory()
	})
	t.Run("keeps the cursor until it is skipped, in order", func(t *testing.T) {
		w := newWorld(t)
		w.fill(100)
		w.setJudge(judge("permanent"))
		w.startAll()
		id := w.create("one", "list")
		w.wantRun(w.awaitClosed(id, 1), "partial", 100, 1)
		if n := w.count("r33", "permanent"); n != 1 {
			t.Errorf("tried %d times, want once", n)
		}
		w.command(events.VerbSkip, "one", `{"item":"`+w.dead(id)[0].ID.String()+`","reason":"spam","by":"ada"}`)
		w.await("the late reduce", func() bool { return w.cursor(id) == "100" })
	})
	t.Run("is superseded when the record succeeds in a later run", func(t *testing.T) {
		w := newWorld(t)
		w.fill(100)
		w.setJudge(judge("permanent"))
		w.startAll()
		id := w.create("one", "feed")
		w.wantRun(w.awaitClosed(id, 1), "partial", 100, 1)
		item := w.dead(id)[0].ID.String()
		w.setJudge(nil)
		w.command(events.VerbSync, "one", "")
		w.wantRun(w.awaitClosed(id, 2), "succeeded", 100, 0)
		w.wantCursor(id, "100")
		if run := w.runs(id)[0]; run.Resolution != "superseded" || w.dead(id)[0].Status != "superseded" {
			t.Errorf("run %q, item %q; want both superseded", run.Resolution, w.dead(id)[0].Status)
		}
		rejections := w.listen(events.CommandRejected)
		w.command(events.VerbRetry, "one", `{"item":"`+item+`"}`)
		w.await("the rejection", func() bool { return rejections.count("is not open") == 1 })
		w.wantCursor(id, "100")
	})
	t.Run("all dead is failed", func(t *testing.T) {
		w := newWorld(t)
		w.fill(20)
		w.setJudge(func(handled) verdict { return verdict{Do: "permanent"} })
		w.startAll()
		id := w.create("one", "feed")
		w.wantRun(w.awaitClosed(id, 1), "failed", 20, 20)
		w.setJudge(nil)
		w.command(events.VerbRetry, "one", `{"all":true}`)
		w.await("the late reduce", func() bool { return w.cursor(id) == "20" })
	})
}

func TestSkippedByItsHandlerCounts(t *testing.T) {
	w := newWorld(t)
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
	w := newWorld(t)
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

func TestSyncIsCommandedWhileARunIsOpen(t *testing.T) {
	w := newWorld(t)
	w.fill(10)
	hold := w.gate()
	var held atomic.Bool
	w.setOnPage(func(int64, int) int {
		if held.CompareAndSwap(false, true) {
			hold.wait()
		}
		return 0
	})
	accepted := w.listen(events.CommandAccepted)
	w.startAll()
	id := w.create("one", "feed")
	w.await("the enumeration", held.Load)
	w.command(events.VerbSync, "one", "")
	w.command(events.VerbSync, "one", `{"mode":"full"}`)
	w.command(events.VerbSync, "one", `{"mode":"incremental"}`)
	w.await("the answers", func() bool { return accepted.count("queued-behind") == 3 })
	hold.open()
	w.awaitClosed(id, 1)
	run := w.awaitClosed(id, 2)
	if run.Mode != "full" || run.Cause != "command" || run.Items != 10 {
		t.Errorf("follow-up is %s by %s with %d items, want one full sync of 10", run.Mode, run.Cause, run.Items)
	}
	if runs := w.runs(id); len(runs) != 2 {
		t.Errorf("%d runs, want 2", len(runs))
	}
	w.wantCursor(id, "10")
}

func TestCancel(t *testing.T) {
	w := newWorld(t)
	w.fill(200)
	noticed := w.gate()
	var begun atomic.Int64
	w.setJudge(func(handled) verdict {
		begun.Add(1)
		noticed.wait()
		return verdict{}
	})
	w.start("scheduler")
	w.start("syncer")
	worker := w.start("item-worker")
	id := w.create("one", "feed")
	w.await("work", func() bool { return begun.Load() == 8 })
	w.command(events.VerbCancel, "one", `{"reason":"wrong repository","by":"ada"}`)
	run := w.awaitClosed(id, 1)
	if run.State != "cancelled" || run.Error != "cancelled: wrong repository (ada)" {
		t.Errorf("run %s, %q", run.State, run.Error)
	}
	w.await("the worker to notice", func() bool { return strings.Contains(worker.output.tail(), "the rest of a batch is not wanted") })
	noticed.open()
	w.command(events.VerbSync, "one", "")
	w.wantRun(w.awaitClosed(id, 2), "succeeded", 200, 0)
	w.wantCursor(id, "200")
	if n := len(w.handlings("")) - 200; n != 8 {
		t.Errorf("%d items of the cancelled run were run, want those 8 that had begun", n)
	}
}

func TestPauseAndResume(t *testing.T) {
	t.Run("while enumerating", func(t *testing.T) {
		w := newWorld(t)
		w.fill(200)
		var pages atomic.Int64
		gate := w.gate()
		w.setOnPage(func(after int64, _ int) int {
			if pages.Add(1) == 3 {
				gate.wait()
			}
			return 0
		})
		w.startAll()
		id := w.create("one", "feed")
		w.await("the third page", func() bool { return pages.Load() >= 3 })
		w.command(events.VerbPause, "one", `{"reason":"maintenance"}`)
		w.await("the pause", func() bool { return w.integration(id).Status == "paused" })
		gate.open()
		w.await("the run to wait", func() bool { return w.runs(id)[0].State == "waiting" })
		rejected := w.listen(events.CommandRejected)
		w.command(events.VerbSync, "one", "")
		w.await("the rejection", func() bool { return rejected.count("paused: maintenance") == 1 })
		w.command(events.VerbResume, "one", "")
		run := w.awaitClosed(id, 1)
		w.wantRun(run, "succeeded", 200, 0)
		if run.Attempt != 2 || run.Tries != 1 {
			t.Errorf("attempt %d, tries %d; want 2 and 1", run.Attempt, run.Tries)
		}
		w.wantHistory()
	})
	t.Run("while working", func(t *testing.T) {
		w := newWorld(t)
		w.fill(100)
		w.setJudge(func(h handled) verdict {
			if h.Entry.Seq == 100 && w.count("r100", "fail") == 0 {
				return verdict{Do: "fail"}
			}
			return verdict{}
		})
		w.startAll()
		id := w.create("one", "feed")
		w.await("the failure", func() bool { return w.count("r100", "fail") == 1 })
		w.command(events.VerbPause, "one", "")
		w.await("the pause", func() bool { return w.integration(id).Status == "paused" })
		other := w.create("two", "feed")
		w.awaitClosed(other, 1)
		w.command(events.VerbResume, "one", "")
		w.wantRun(w.awaitClosed(id, 1), "succeeded", 100, 0)
		w.wantCursor(id, "100")
	})
}

func TestResetCursor(t *testing.T) {
	w := newWorld(t)
	w.fill(80)
	w.startAll()
	id := w.create("one", "feed")
	w.awaitClosed(id, 1)
	w.command(events.VerbResetCursor, "one", `{"to":50,"by":"ada"}`)
	w.await("the reset", func() bool { return w.cursor(id) == "50" })
	w.command(events.VerbSync, "one", "")
	w.wantRun(w.awaitClosed(id, 2), "succeeded", 30, 0)
	w.wantCursor(id, "80")
	w.command(events.VerbResetCursor, "one", `{"to":null}`)
	w.await("the reset", func() bool { return w.cursor(id) == "" })
	w.command(events.VerbSync, "one", "")
	w.wantRun(w.awaitClosed(id, 3), "succeeded", 80, 0)

	hold := w.gate()
	w.setOnPage(func(int64, int) int { hold.wait(); return 0 })
	w.command(events.VerbSync, "one", "")
	w.await("an open run", func() bool { return len(w.runs(id)) == 4 })
	rejected := w.listen(events.CommandRejected)
	w.command(events.VerbResetCursor, "one", `{"to":1}`)
	w.await("the refusal", func() bool { return rejected.count("is open") == 1 })
	w.command(events.VerbResetCursor, "one", `{"to":1,"cancel":true}`)
	w.await("the reset", func() bool { return w.cursor(id) == "1" && w.runs(id)[3].State == "cancelled" })
}

func TestBadCommandsAreAnswered(t *testing.T) {
	w := newWorld(t)
	rejected := w.listen(events.CommandRejected)
	// Published while no scheduler runs: commands are durable.
	js, err := w.nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	first := w.start("scheduler")
	w.create("one", "feed")
	w.await("the stream", func() bool { _, err := js.StreamInfo(events.StreamCommands); return err == nil })
	first.kill()
	w.command(events.VerbSync, "nobody", "")
	w.command("dance", "one", "")
	w.command(events.VerbSync, "one", `{"mode":"sideways"}`)
	w.command(events.VerbSync, "one", `{`)
	w.command(events.VerbSkip, "one", `{"item":"x"}`)
	w.start("scheduler")
	w.await("five answers", func() bool { return rejected.count("") == 5 })
}

func TestStaleSyncerWakesAfterTheNewerAttempt(t *testing.T) {
	w := newWorld(t)
	w.fill(400)
	var pages atomic.Int64
	asleep := w.gate()
	w.setOnPage(func(after int64, _ int) int {
		if pages.Add(1) == 4 {
			asleep.wait()
		}
		return 0
	})
	w.start("scheduler")
	w.start("item-worker")
	stale := w.start("syncer")
	id := w.create("one", "feed")
	w.await("the fourth page", func() bool { return pages.Load() >= 4 })
	stale.signal(syscall.SIGSTOP)
	w.start("syncer")
	w.await("the newer attempt", func() bool { return w.runs(id)[0].Attempt >= 2 })
	asleep.open()
	stale.signal(syscall.SIGCONT)
	run := w.awaitClosed(id, 1)
	w.wantRun(run, "succeeded", 400, 0)
	w.wantCursor(id, "400")
	w.wantHistory()
}

func TestRecordsThatChangeWhileTheyAreEnumerated(t *testing.T) {
	w := newWorld(t)
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

func TestSIGTERMHandsOver(t *testing.T) {
	w := newWorld(t)
	w.fill(400)
	w.setJudge(func(handled) verdict { time.Sleep(5 * time.Millisecond); return verdict{} })
	old := w.startAll()
	id := w.create("one", "feed")
	w.await("work", func() bool { return w.count("", "ok") > 20 })
	w.startAll()
	for _, p := range old {
		if code := p.stop(); code != 0 {
			t.Errorf("%s exits with %d: %s", p.name, code, p.output.tail())
		}
	}
	w.wantRun(w.awaitClosed(id, 1), "succeeded", 400, 0)
	w.wantCursor(id, "400")
}

func TestPoisonItemIsIsolated(t *testing.T) {
	w := newWorld(t)
	w.fill(40)
	w.setJudge(func(h handled) verdict {
		if h.Entry.ID == "r9" {
			return verdict{Do: "die"}
		}
		return verdict{}
	})
	w.start("scheduler")
	w.start("syncer")
	worker := w.start("item-worker")
	id := w.create("one", "feed")
	deaths := 0
	w.await("the end of the run", func() bool {
		select {
		case <-worker.ended:
			deaths++
			worker = w.start("item-worker")
		default:
		}
		runs := w.runs(id)
		return len(runs) == 1 && runs[0].ClosedAt != nil
	})
	w.wantRun(w.runs(id)[0], "partial", 40, 1)
	if dead := w.dead(id); len(dead) != 1 || dead[0].ExternalID != "r9" || dead[0].Reason != "killed its worker" {
		t.Errorf("dead items %+v", dead)
	}
	if deaths > 6 {
		t.Errorf("%d workers died of it, want at most 6", deaths)
	}
	w.wantCursor(id, "")
}

func TestNATSRestarts(t *testing.T) {
	w := newWorld(t)
	w.fill(600)
	w.setJudge(func(handled) verdict { time.Sleep(2 * time.Millisecond); return verdict{} })
	w.startAll()
	id := w.create("one", "feed")
	w.await("work", func() bool { return w.count("", "ok") > 50 })
	w.nats.Restart()
	w.await("the end of the run", func() bool { runs := w.runs(id); return len(runs) == 1 && runs[0].ClosedAt != nil })
	w.wantRun(w.runs(id)[0], "succeeded", 600, 0)
	w.wantCursor(id, "600")
	w.wantHistory()
}

func statusIf(yes bool, status int) int {
	if yes {
		return status
	}
	return 0
}
