package e2e_test

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/tributaryhq/tributary/pkg/events"
)

// TestCommandedSyncsLeaveTheSchedule has syncs fail that were commanded: the schedule's back-off counts none of them, and the next scheduled sync is when it was.
func TestCommandedSyncsLeaveTheSchedule(t *testing.T) {
	w := newWorld(t)
	w.startAll()
	id := w.create("one", "feed")
	w.wantRun(w.awaitClosed(id, 1), "succeeded", 0, 0)
	before := w.integration(id)
	w.setOnPage(func(int64, int) int { return http.StatusForbidden })
	for n := range 6 {
		w.command(events.VerbSync, "one", "")
		if run := w.awaitClosed(id, n+2); run.State != "failed" {
			t.Fatalf("run %d is %s, want failed", n+2, run.State)
		}
	}
	after := w.integration(id)
	if after.ConsecutiveSyncFailures != 0 || !after.NextSyncAt.Equal(*before.NextSyncAt) {
		t.Errorf("%d failures, next sync at %s; want 0 and %s", after.ConsecutiveSyncFailures, after.NextSyncAt, before.NextSyncAt)
	}
}

// TestStoppingSyncerTakesNothing stops a syncer six times in mid-run. None of them enumerates the run again while it stops.
func TestStoppingSyncerTakesNothing(t *testing.T) {
	w := newWorld(t)
	w.fill(2 * pageSize)
	var begun, held atomic.Int64
	hold := w.gate()
	w.setOnPage(func(after int64, _ int) int {
		if after == 0 {
			begun.Add(1)
		} else if after == pageSize {
			held.Add(1)
			hold.wait()
		}
		return 0
	})
	w.start("scheduler")
	w.start("item-worker")
	id := w.create("one", "feed")
	const stops = 6
	for n := int64(1); n <= stops; n++ {
		syncer := w.start("syncer")
		w.await(fmt.Sprint("enumeration ", n), func() bool { return held.Load() == n })
		if code := syncer.stop(); code != 0 {
			t.Errorf("the syncer ends with %d", code)
		}
	}
	hold.open()
	w.start("syncer")
	w.wantRun(w.awaitClosed(id, 1), "succeeded", 2*pageSize, 0)
	if n := begun.Load(); n != stops+1 {
		t.Errorf("the run was enumerated %d times, want %d", n, stops+1)
	}
}
