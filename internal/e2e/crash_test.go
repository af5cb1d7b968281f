package e2e_test

import (
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/internal/embedded/cable"
	"github.com/tributaryhq/tributary/pkg/events"
)

// crashPoints are the named points, each "service: where"; "#n" means the n-th time.
func crashPoints() []string {
	return []string{
		"scheduler: runs opened", "scheduler: outbox message published", "scheduler: outbox message published#2", "scheduler: before close",
		"scheduler: run closed", "scheduler: before late reduce", "scheduler: command carried out",
		"syncer: attempt started", "syncer: batch published", "syncer: dead item stored", "syncer: before total", "syncer: total written",
		"item-worker: hop published", "item-worker: dead items stored", "item-worker: receipts stored", "item-worker: before entry", "item-worker: before entry#3",
		"item-worker: entry written", "item-worker: dead item resolved",
	}
}

func serviceOf(point string) string {
	service, _, _ := strings.Cut(point, ":")
	return service
}

// At every named crash point a process dies by kill -9, another takes over, and nothing is lost, skipped or moved too early.
func TestCrashPoints(t *testing.T) {
	for _, point := range crashPoints() {
		t.Run(point, func(t *testing.T) { crashAt(t, point) })
	}
}

// crashAt runs a sync in which every kind of fate occurs, with one process dying at a point: 300 records, of which one fails once, one is dead
// until it is retried, and one can't travel and is skipped.
func crashAt(t *testing.T, point string) {
	t.Helper()
	w := newWorld(t)
	w.fill(150)
	w.put("big", "huge")
	w.excused["big"] = true
	w.fill(149)
	var mended atomic.Bool
	w.setJudge(func(h handled) verdict {
		switch {
		case h.Entry.ID == "r20" && w.count("r20", "fail") == 0:
			return verdict{Do: "fail"}
		case h.Entry.ID == "r30" && !mended.Load():
			return verdict{Do: "permanent"}
		}
		return verdict{}
	})
	service := serviceOf(point)
	processes := w.startAll("TRIBUTARY_CRASH_AT=" + point)
	crashed := make(chan struct{})
	go w.takeOver(processes, service, crashed)
	id := w.create("one", "feed")
	w.wantRun(w.awaitClosed(id, 1), "partial", 300, 2)
	w.wantCursor(id, "")
	mended.Store(true)
	for _, d := range w.dead(id) {
		if d.Status != "open" {
			continue
		}
		if d.ExternalID == "big" {
			w.command(events.VerbSkip, "one", `{"item":"`+d.ID.String()+`","reason":"too large","by":"test"}`)
		} else {
			w.command(events.VerbRetry, "one", `{"item":"`+d.ID.String()+`"}`)
		}
	}
	w.await("the late reduce", func() bool { return w.cursor(id) == "300" })
	w.await("the crash at "+point, func() bool {
		select {
		case <-crashed:
			return true
		default:
			return false
		}
	})
	w.wantHistory()
	if runs := w.runs(id); len(runs) != 1 {
		t.Errorf("%d runs, want one", len(runs))
	}
}

// takeOver starts a process anew once the one that was to crash has died.
func (w *world) takeOver(processes []*process, service string, crashed chan<- struct{}) {
	for _, p := range processes {
		if p.name != service {
			continue
		}
		select {
		case <-p.ended:
			w.start(service)
			close(crashed)
		case <-w.t.Context().Done():
		}
	}
}

// TestSyncerDiesOnceItsRunWaits has an enumeration fail, and its syncer die once the run is put off: another goes on.
func TestSyncerDiesOnceItsRunWaits(t *testing.T) {
	w := newWorld(t)
	w.fill(10)
	w.setOnPage(func(_ int64, requests int) int { return statusIf(requests == 1, http.StatusTeapot) })
	crashed := make(chan struct{})
	go w.takeOver(w.startAll("TRIBUTARY_CRASH_AT=syncer: waiting"), "syncer", crashed)
	id := w.create("one", "feed")
	run := w.awaitClosed(id, 1)
	w.wantRun(run, "succeeded", 10, 0)
	w.wantCursor(id, "10")
	<-crashed
	if run.Tries != 2 {
		t.Errorf("the run took %d tries, want the one that failed and another", run.Tries)
	}
}

func TestPostgresIsAway(t *testing.T) {
	w := newWorld(t)
	w.fill(600)
	w.setJudge(func(handled) verdict { <-time.After(2 * time.Millisecond); return verdict{} })
	line := cable.New(t, w.database)
	w.database = line.URL
	w.startAll()
	id := w.create("one", "feed")
	w.await("work", func() bool { return w.count("", "ok") > 50 })
	line.Cut()
	before := len(w.handlings(""))
	w.await("the work in hand to end", func() bool {
		now := len(w.handlings(""))
		defer func() { before = now }()
		return now == before
	})
	line.Mend()
	w.wantRun(w.awaitClosed(id, 1), "succeeded", 600, 0)
	w.wantCursor(id, "600")
	w.wantHistory()
}

func TestNATSLosesItsStore(t *testing.T) {
	w := newWorld(t)
	w.fill(600)
	last := w.gate()
	w.setJudge(func(h handled) verdict {
		if h.Entry.ID == "r600" {
			last.wait()
		}
		return verdict{}
	})
	w.startAll()
	id := w.create("one", "feed")
	w.await("work", func() bool { return w.count("", "ok") > 50 })
	w.nats.Stop()
	if err := os.RemoveAll(w.nats.Dir()); err != nil {
		t.Fatal(err)
	}
	w.nats.Start()
	last.open()
	run := w.awaitClosed(id, 1)
	w.wantRun(run, "succeeded", 600, 0)
	if run.Attempts < 2 {
		t.Errorf("closed by attempt %d, want it driven again", run.Attempts)
	}
	w.wantCursor(id, "600")
}
