package e2e_test

import (
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/events"
)

// Rows of the table "What happens when": what people command.

func TestSyncIsCommandedWhileARunIsOpen(t *testing.T) {
	w := newSteadyWorld(t)
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
	w := newSteadyWorld(t)
	w.fill(200)
	noticed := w.gate()
	var mu sync.Mutex
	begun := map[string]int{} // by batch
	w.setJudge(func(h handled) verdict {
		mu.Lock()
		begun[batchOf(h.Item)]++
		mu.Unlock()
		noticed.wait()
		return verdict{}
	})
	begunNow := func() map[string]int {
		mu.Lock()
		defer mu.Unlock()
		return maps.Clone(begun)
	}
	w.start("scheduler")
	w.start("syncer")
	worker := w.start("item-worker")
	id := w.create("one", "feed")
	w.await("work", func() bool { return len(begunNow()) > 0 })
	w.command(events.VerbCancel, "one", `{"reason":"wrong repository","by":"ada"}`)
	run := w.awaitClosed(id, 1)
	if run.State != "cancelled" || run.Error != "cancelled: wrong repository (ada)" {
		t.Errorf("run %s, %q", run.State, run.Error)
	}
	var before map[string]int
	w.await("the worker to notice", func() bool {
		before = begunNow()
		return strings.Count(worker.output.tail(), "the rest of a batch is not wanted") >= len(before)
	})
	noticed.open()
	w.command(events.VerbSync, "one", "")
	w.wantRun(w.awaitClosed(id, 2), "succeeded", 200, 0)
	w.wantCursor(id, "200")
	after := begunNow()
	for batch, n := range before {
		// A request may still be on its way when the worker notices.
		if n < 1 || after[batch] > 8 {
			t.Errorf("of batch %s of the cancelled run %d items had begun when the worker noticed, at most 8 at a time; in the end %d", batch, n, after[batch])
		}
	}
}

// batchOf is the part of an item's id that names its run, attempt and batch.
func batchOf(item string) string { return item[:strings.LastIndex(item, "/")] }

func TestPauseAndResume(t *testing.T) {
	t.Run("while enumerating", func(t *testing.T) {
		w := newSteadyWorld(t)
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
		if run.Attempts != 2 || run.Tries != 1 {
			t.Errorf("attempt %d, tries %d; want 2 and 1", run.Attempts, run.Tries)
		}
		w.wantHistory()
	})
	t.Run("while working", func(t *testing.T) {
		w := newSteadyWorld(t)
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
	w := newSteadyWorld(t)
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
	w.await("the stream", func() bool { _, err := js.StreamInfo(wire.StreamCommands); return err == nil })
	first.kill()
	w.command(events.VerbSync, "nobody", "")
	w.command("dance", "one", "")
	w.command(events.VerbSync, "one", `{"mode":"sideways"}`)
	w.command(events.VerbSync, "one", `{`)
	w.command(events.VerbSkip, "one", `{"item":"x"}`)
	w.start("scheduler")
	w.await("five answers", func() bool { return rejected.count("") == 5 })
}
