package e2e_test

import (
	"strings"
	"testing"
	"time"

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
	w := newSteadyWorld(t)
	w.startAll()
	gone := newUpstream(t)
	gone.server.URL = "http://127.0.0.1:1"
	id := w.createAt(gone, "one", "feed")
	run := w.awaitClosed(id, 1)
	if run.State != "failed" || run.Attempts != 5 || run.Tries != 5 || !strings.Contains(run.Error.String(), "connection refused") {
		t.Errorf("run %s, attempt %d, tries %d, error %q; want failed after 5 tries with the reason", run.State, run.Attempts, run.Tries, run.Error)
	}
}

// Processes whose clocks are a day apart work as if they were right: what they have in common is the broker's clock.
func TestClocksADayApart(t *testing.T) {
	for name, clocks := range map[string][2]string{"scheduler ahead": {"24h", "-24h"}, "workers ahead": {"-24h", "24h"}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.fill(300)
			w.setJudge(func(h handled) verdict {
				if h.Entry.ID == "r50" && w.count("r50", "fail") == 0 {
					return verdict{Do: "fail"}
				}
				return verdict{}
			})
			started := time.Now()
			scheduler := w.start("scheduler", "TRIBUTARY_TEST_CLOCK="+clocks[0])
			w.start("syncer", "TRIBUTARY_TEST_CLOCK="+clocks[1])
			worker := w.start("item-worker", "TRIBUTARY_TEST_CLOCK="+clocks[1])
			w.start("token-refresher", "TRIBUTARY_TEST_CLOCK="+clocks[1])
			in := w.startIngress("TRIBUTARY_TEST_CLOCK=" + clocks[1])
			id, pushed := w.create("two", "feed"), w.createHooked("hooked")
			// A wrong clock would have the item that fails once wait too long, and die.
			w.wantRun(w.awaitClosed(id, 1), "succeeded", 300, 0)
			w.wantCursor(id, "300")
			integration, err := w.store.IntegrationGet(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			if next := integration.NextSyncAt; next != nil && (next.Before(started.Add(-time.Hour)) || next.After(started.Add(20*time.Hour))) {
				t.Errorf("the next sync is due at %s, now is %s", next, time.Now())
			}
			if synced := integration.LastSyncedAt; synced == nil || synced.Sub(started).Abs() > time.Hour {
				t.Errorf("the last sync was at %v, now is %s", synced, time.Now())
			}
			if integration.StaleSince != nil {
				t.Errorf("stale since %s", integration.StaleSince)
			}
			if !w.pushUntilTaken(in.url+"/integrations/hooked/one/webhook", "d1", entry{ID: "r1", Seq: 1}) {
				t.Fatal("the delivery was not taken")
			}
			w.awaitWebhooks(pushed, "processed", 1)
			for what, at := range map[string]time.Time{
				"received": w.webhooks(pushed)[0].ReceivedAt, "finished": *w.webhooks(pushed)[0].FinishedAt,
			} {
				if at.Sub(started).Abs() > time.Hour {
					t.Errorf("a delivery was %s at %s, now is %s", what, at, time.Now())
				}
			}
			for _, p := range []*process{scheduler, worker, in.process} {
				w.await("the warning of "+p.name, func() bool { return strings.Contains(p.output.tail(), "the clock of this machine differs") })
			}
		})
	}
}
