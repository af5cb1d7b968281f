package e2e_test

import (
	"testing"

	"github.com/tributaryhq/tributary/pkg/events"
)

// Rows of the table "What happens when": items that are never done, and what becomes of them.

func TestItemsThatCanNotTravel(t *testing.T) {
	w := newSteadyWorld(t)
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
		reasons[d.ExternalID] = d.Reason.String()
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
		w := newSteadyWorld(t)
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
		w := newSteadyWorld(t)
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
		w := newSteadyWorld(t)
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
		w := newSteadyWorld(t)
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
	// Four, and one more for each delivery in which others of its batch were done before.
	if deaths > 12 {
		t.Errorf("%d workers died of it, want at most 12", deaths)
	}
	w.wantCursor(id, "")
}
