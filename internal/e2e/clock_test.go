package e2e_test

import (
	"strings"
	"testing"

	"github.com/tributaryhq/tributary/pkg/events"
)

// Clocks that disagree, or jump, may make things earlier or later, and never wrong.
func TestClocksThatDisagree(t *testing.T) {
	w := newWorld(t)
	w.fill(300)
	w.setJudge(func(h handled) verdict {
		if h.Entry.ID == "r50" && w.count("r50", "fail") == 0 {
			return verdict{Do: "fail"}
		}
		return verdict{}
	})
	ahead := w.start("scheduler", "TRIBUTARY_TEST_CLOCK=1h")
	w.start("syncer", "TRIBUTARY_TEST_CLOCK=-20m")
	w.start("item-worker", "TRIBUTARY_TEST_CLOCK=-5m")
	id := w.create("one", "feed")
	w.wantRun(w.awaitClosed(id, 1), "succeeded", 300, 0)
	w.wantCursor(id, "300")
	// The scheduler's clock jumps back by an hour and a half.
	ahead.kill()
	w.start("scheduler", "TRIBUTARY_TEST_CLOCK=-30m")
	w.put("r7", "edited")
	w.command(events.VerbSync, "one", "")
	// By its clock the second run is older than the first.
	w.await("the second run", func() bool { return w.cursor(id) == "301" })
	for _, run := range w.runs(id) {
		if run.State != "succeeded" || run.Items != 300 && run.Items != 1 {
			t.Errorf("run %s with %d items", run.State, run.Items)
		}
	}
}

func TestUpstreamThatIsDown(t *testing.T) {
	w := newWorld(t)
	w.startAll()
	gone := newUpstream(t)
	gone.server.Close()
	id := w.createAt(gone, "one", "feed")
	run := w.awaitClosed(id, 1)
	if run.State != "failed" || run.Attempts != 5 || run.Tries != 5 || !strings.Contains(run.Error, "connection refused") {
		t.Errorf("run %s, attempt %d, tries %d, error %q; want failed after 5 tries with the reason", run.State, run.Attempts, run.Tries, run.Error)
	}
}
