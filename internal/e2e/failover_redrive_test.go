package e2e_test

import (
	"os"
	"sync/atomic"
	"testing"

	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/events"
)

// TestProveFailoverRedrives loses the last commits of Postgres around an item that fails once, and around one that is
// dead until it is retried by command.
func TestProveFailoverRedrives(t *testing.T) {
	if os.Getenv("PROVE") == "" {
		t.Skip("make prove runs this")
	}
	for _, how := range []loss{promotion, backup} {
		for _, point := range []string{"item-worker: hop published", "item-worker: dead items stored"} {
			t.Run(point+", "+string(how), func(t *testing.T) {
				r := newRedriven(t)
				worker := r.start("item-worker", "TRIBUTARY_CRASH_AT="+point)
				copied, held := r.begin(how == promotion)
				held.open()
				<-worker.ended
				r.fallBack(copied)
				r.start("item-worker")
				r.retry()
				r.turn.open()
				r.wantResolved()
			})
		}
		t.Run("item-worker: dead item resolved, "+string(how), func(t *testing.T) {
			r := newRedriven(t)
			worker := r.start("item-worker", "TRIBUTARY_CRASH_AT=item-worker: dead item resolved")
			copied := r.copyInRedrive(how)
			<-worker.ended
			r.fallBack(copied)
			r.start("item-worker")
			r.wantResolved()
		})
		// NATS has dropped the message by then. The row says so until its window ends, and holds the cursor.
		t.Run("nothing dies, "+string(how), func(t *testing.T) {
			r := newRedriven(t)
			r.start("item-worker")
			copied := r.copyInRedrive(how)
			r.wantResolved()
			r.awaitEmpty(wire.StreamItems)
			r.fallBack(copied)
			dead := r.dead(r.handled)
			if len(dead) != 1 || dead[0].Status != "redriving" {
				t.Errorf("dead items %+v, want one that is being retried", dead)
			}
			r.wantCursor(r.handled, "")
		})
	}
}

// redriven is a failover in which r20 fails once, and r30 is dead until it is mended, and then with its handler until
// its turn.
type redriven struct {
	*failover
	mended  atomic.Bool
	turn    *gate
	reached chan struct{}
}

func newRedriven(t *testing.T) *redriven {
	t.Helper()
	f := newFailover(t)
	r := &redriven{failover: f, turn: f.gate(), reached: make(chan struct{}, 100)}
	var tries atomic.Int64
	r.setJudge(func(h handled) verdict {
		switch {
		case h.Entry.ID == "r20" && tries.Add(1) == 1:
			return verdict{Do: "fail"}
		case h.Entry.ID == "r30" && !r.mended.Load():
			return verdict{Do: "permanent"}
		case h.Entry.ID == "r30":
			r.reached <- struct{}{}
			r.turn.wait()
		}
		return verdict{}
	})
	r.start("scheduler")
	r.start("syncer")
	return r
}

// retry waits for the end of the runs, and has the dead item brought to its handler again.
func (r *redriven) retry() {
	r.t.Helper()
	r.awaitClosed(r.stored, 1)
	r.wantRun(r.awaitClosed(r.handled, 1), "partial", 300, 1)
	r.wantCursor(r.handled, "")
	r.mended.Store(true)
	r.command(events.VerbRetry, "handled", `{"all":true}`)
	<-r.reached
}

// copyInRedrive makes the copy while the retried item is with its handler.
func (r *redriven) copyInRedrive(how loss) *node {
	r.t.Helper()
	_, held := r.begin(false)
	held.open()
	r.retry()
	copied := r.copyNow(how == promotion)
	r.turn.open()
	return copied
}

func (r *redriven) wantResolved() {
	r.t.Helper()
	r.await("the late reduce", func() bool { return r.cursor(r.handled) == "300" })
	for _, d := range r.world.dead(r.handled) {
		if d.Status != "resolved" && d.Status != "superseded" {
			r.t.Errorf("dead item %s is %s", d.ExternalID, d.Status)
		}
	}
	for _, id := range []string{"r20", "r30"} {
		if r.count(id, "ok") == 0 {
			r.t.Errorf("%s was never handled", id)
		}
	}
	// The other integration has no handler; its records are in the table.
	for _, m := range r.cursorMoves() {
		if m.GetIntegration().GetIntegrationId() == r.handled.String() {
			r.checkMove(r.upstream, m)
		}
	}
	if n := len(r.recordIDs(r.stored)); n != 300 {
		r.t.Errorf("%d records in the table, want 300", n)
	}
}
