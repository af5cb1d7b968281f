package e2e_test

import (
	"strings"
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
	w.await("the newer attempt", func() bool { return w.runs(id)[0].Attempts >= 2 })
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

// TestStopsAtAnyTimeOfItsStart stops services that have just begun, and such as wait for a server that is not there.
func TestStopsAtAnyTimeOfItsStart(t *testing.T) {
	w := newWorld(t)
	for _, service := range []string{"scheduler", "syncer", "item-worker", "token-refresher", "webhook-ingress"} {
		for says, env := range map[string]string{
			"msg=running": "", "waiting for NATS": "TRIBUTARY_NATS_URL=nats://127.0.0.1:1", "waiting for Postgres": "DATABASE_URL=postgres://u:p@127.0.0.1:1/none",
		} {
			if service == "webhook-ingress" && strings.HasSuffix(says, "Postgres") {
				continue // it has no database
			}
			p := w.start(service, "TRIBUTARY_WEBHOOK_ADDR=127.0.0.1:0", env)
			w.await(service+" to say: "+says, func() bool { return strings.Contains(p.output.tail(), says) })
			if code := p.stop(); code != 0 {
				t.Errorf("%s, stopped after %q, exits with %d: %s", service, says, code, p.output.tail())
			}
		}
	}
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
