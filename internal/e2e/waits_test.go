package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// hasty is feed with an enumeration that asks for a wait of the test's choice, always.
type hasty struct{ feed }

func (hasty) Sync(context.Context, *contracts.Integration, contracts.SyncSession) error {
	asked, err := time.ParseDuration(os.Getenv("TRIBUTARY_E2E_ASKS"))
	if err != nil {
		return contracts.Permanent(err)
	}
	return contracts.RetryAfter(asked, errors.New("not yet"))
}

func (h hasty) SyncIncremental(ctx context.Context, in *contracts.Integration, session contracts.SyncSession) error {
	return h.Sync(ctx, in, session)
}

// rationed is feed with a budget for its enumeration; its handlers need none.
type rationed struct{ feed }

func (rationed) DefaultRateLimit() *contracts.RateLimit { return guarded{}.DefaultRateLimit() }

// TestEnumerationWaitsForItsBudgetInPlace has a first sync need three times as many requests as a window of its budget has: it goes on where it was in each window, and
// reads no page twice.
func TestEnumerationWaitsForItsBudgetInPlace(t *testing.T) {
	const pages = 35
	w := newSteadyWorld(t)
	w.env = append(w.env, limitVariable+"=12/15s")
	w.fill(pages * pageSize)
	waiting := w.listen(events.RunWaiting)
	w.startAll()
	id := w.create("one", "rationed")
	run := w.awaitClosed(id, 1)
	w.wantRun(run, "succeeded", pages*pageSize, 0)
	w.wantCursor(id, fmt.Sprint(pages*pageSize))
	if run.Attempts != 1 || w.requests() != pages+1 {
		t.Errorf("%d attempts read %d pages, want 1 and %d", run.Attempts, w.requests(), pages+1)
	}
	if waiting.count(contracts.ErrBudgetExhausted.Error()) == 0 || run.WaitingUntil != nil || run.Error != "" {
		t.Errorf("%d events tell of a wait, and the run waits until %v: %q", waiting.count(""), run.WaitingUntil, run.Error)
	}
}

// TestWaitInPlaceEnds stops a syncer, and then pauses the integration, while an enumeration waits for its budget in place.
func TestWaitInPlaceEnds(t *testing.T) {
	w := newWorld(t)
	w.env = append(w.env, limitVariable+"=1/1h")
	w.fill(2 * pageSize)
	w.start("scheduler")
	syncer := w.start("syncer")
	id := w.create("one", "rationed")
	held := func() bool {
		runs := w.runs(id)
		return len(runs) > 0 && runs[0].State == "enumerating" && runs[0].WaitingUntil != nil && runs[0].WaitingFor == "budget"
	}
	w.await("the enumeration to wait", held)
	if code := syncer.stop(); code != 0 {
		t.Errorf("the syncer ends with %d", code)
	}
	w.await("the run to be due again", func() bool { return w.runs(id)[0].State == "due" })
	w.start("syncer")
	w.await("the next enumeration to wait", held)
	w.command(events.VerbPause, "one", "")
	w.await("the run to wait for the resume", func() bool { r := w.runs(id)[0]; return r.State == "waiting" && r.WaitingFor == "pause" })
}

// TestCommandedSyncsLeaveTheSchedule has syncs fail that were commanded: the schedule's back-off counts none of them, and the next scheduled sync is when it was.
func TestCommandedSyncsLeaveTheSchedule(t *testing.T) {
	w := newSteadyWorld(t)
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
		switch after {
		case 0:
			begun.Add(1)
		case pageSize:
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

// TestWaitsAreBounded has an enumeration ask for a wait of 146 years: it waits an hour, and an event tells what was asked.
func TestWaitsAreBounded(t *testing.T) {
	w := newSteadyWorld(t)
	told, err := w.nc.SubscribeSync(events.EventSubject(events.RunWaiting, "hasty", "*"))
	if err != nil {
		t.Fatal(err)
	}
	w.startAll("TRIBUTARY_E2E_ASKS=1281023h") // 146 years
	id := w.create("one", "hasty")
	msg, err := told.NextMsg(patience)
	if err != nil {
		t.Fatal("no event tells of the wait:", err)
	}
	var e eventsv1.RunWaiting
	if err := protojson.Unmarshal(msg.Data, &e); err != nil {
		t.Fatal(err)
	}
	run := w.runs(id)[0]
	if left := time.Until(*run.WaitingUntil); left > time.Hour || run.State != "waiting" || run.WaitingFor != "patience" {
		t.Errorf("the run is %s for %s, for %q; want it to wait an hour for patience", run.State, left, run.WaitingFor)
	}
	if years := time.Until(e.GetAskedUntil().AsTime()).Hours() / 24 / 365; years < 140 || e.GetWaitingFor() != "patience" {
		t.Errorf("the event tells of %v years, for %q", years, e.GetWaitingFor())
	}
}
