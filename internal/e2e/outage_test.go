package e2e_test

import (
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Rows of the table "What happens when": processes and servers that go away and come back.

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

func TestSIGTERMHandsOver(t *testing.T) {
	w := newWorld(t)
	w.fill(400)
	w.setJudge(func(handled) verdict { <-time.After(5 * time.Millisecond); return verdict{} })
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

func TestNATSRestarts(t *testing.T) {
	w := newWorld(t)
	w.fill(600)
	w.setJudge(func(handled) verdict { <-time.After(2 * time.Millisecond); return verdict{} })
	w.startAll()
	id := w.create("one", "feed")
	w.await("work", func() bool { return w.count("", "ok") > 50 })
	w.nats.Restart()
	w.await("the end of the run", func() bool { runs := w.runs(id); return len(runs) == 1 && runs[0].ClosedAt != nil })
	w.wantRun(w.runs(id)[0], "succeeded", 600, 0)
	w.wantCursor(id, "600")
	w.wantHistory()
}
