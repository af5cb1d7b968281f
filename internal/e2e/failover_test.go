package e2e_test

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/pkg/events"
)

// failoverPoint is where a process dies and Postgres goes back to what it was when the run had begun.
type failoverPoint struct {
	// repeats says that NATS has called something finished by then, so that the run is repeated.
	repeats bool
	// inSuite is what the suite does there; TestProveFailoverPoints does both.
	inSuite loss
}

// loss is how Postgres goes back.
type loss string

const (
	promotion loss = "a standby is promoted"
	backup    loss = "a backup is restored"
)

// failoverPoints are the crash points on the way of items between the copy of the database and the close.
// TestFailoverPointsAreWhole has the others.
func failoverPoints() map[string]failoverPoint {
	return map[string]failoverPoint{
		"syncer: batch published":        {inSuite: backup},
		"syncer: before total":           {},
		"syncer: total written":          {inSuite: backup},
		"item-worker: records stored":    {inSuite: backup},
		"item-worker: records committed": {inSuite: promotion},
		"item-worker: receipts stored":   {inSuite: promotion},
		"item-worker: before entry":      {inSuite: backup},
		"item-worker: entry written":     {repeats: true, inSuite: promotion},
		"scheduler: before close":        {repeats: true, inSuite: backup},
		"scheduler: run closed":          {repeats: true, inSuite: backup},
		// Nothing dies, and the primary is lost after the close.
		"": {repeats: true, inSuite: promotion},
	}
}

// TestFailover loses the last commits of Postgres at crash points of the way of items: an asynchronous standby is
// promoted, or a backup restored, under the address that the services have. Afterwards the table has every record of
// the upstream, and each was handled.
func TestFailover(t *testing.T) {
	for name, point := range failoverPoints() {
		if point.inSuite == "" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			newFailover(t).round(name, point.inSuite == promotion, point.repeats)
		})
	}
}

// TestProveFailoverPoints has a promotion and a restored backup at each of the points.
func TestProveFailoverPoints(t *testing.T) {
	if os.Getenv("PROVE") == "" {
		t.Skip("make prove runs this")
	}
	for name, point := range failoverPoints() {
		for _, how := range []loss{promotion, backup} {
			t.Run(name+", "+string(how), func(t *testing.T) {
				newFailover(t).round(name, how == promotion, point.repeats)
			})
		}
	}
}

// TestProveFailover fails over again and again, each time after another while, between the processes' steps as they come.
func TestProveFailover(t *testing.T) {
	if os.Getenv("PROVE") == "" {
		t.Skip("make prove runs this")
	}
	f := newFailover(t)
	for n := range 12 {
		f.roundAfter(time.Duration(n*n) * 10 * time.Millisecond)
	}
}

// failover is a world on a cluster, with one integration whose records go to the table and one whose records are handled.
type failover struct {
	*world
	cluster *cluster
	stored  uuid.UUID
	handled uuid.UUID
	runs    int
}

func newFailover(t *testing.T) *failover {
	t.Helper()
	t.Parallel()
	server := natstest.NewListening(t)
	c := newCluster(t)
	w := newWorldAt(t, server.URL(), server.Connect(), c.line.URL)
	w.nats = server
	return &failover{world: w, cluster: c}
}

// begin has both integrations synced, with the upstream held until the copy of the database has their runs.
func (f *failover) begin(replicates bool) (copied *node, held *gate) {
	f.t.Helper()
	held = f.holdPages()
	f.fill(300)
	if f.runs == 0 {
		f.stored, f.handled = f.create("stored", "table"), f.create("handled", "feed")
	} else {
		f.command(events.VerbSync, "stored", "")
		f.command(events.VerbSync, "handled", "")
	}
	f.runs++
	f.awaitBegun(f.runs, f.stored, f.handled)
	return f.copyNow(replicates), held
}

// holdPages has the upstream hold its pages until the gate is opened.
func (w *world) holdPages() *gate {
	held := w.gate()
	w.setOnPage(func(int64, int) int { held.wait(); return 0 })
	return held
}

// awaitBegun waits until the n-th run of each integration enumerates.
func (w *world) awaitBegun(n int, integrations ...uuid.UUID) {
	w.t.Helper()
	w.await("the runs to begin", func() bool {
		for _, id := range integrations {
			runs := w.runs(id)
			if len(runs) < n || runs[n-1].State != "enumerating" {
				return false
			}
		}
		return true
	})
}

// copyNow makes a copy of the database that gets nothing any more.
func (f *failover) copyNow(replicates bool) *node {
	f.t.Helper()
	copied := f.cluster.backUp(replicates)
	copied.wire.Cut()
	return copied
}

// fallBack loses the primary, and has the copy take its place.
func (f *failover) fallBack(copied *node) {
	f.t.Helper()
	f.cluster.lose()
	f.takeOver(copied)
}

// takeOver has a copy take the place of the lost primary.
func (f *failover) takeOver(copied *node) {
	f.t.Helper()
	f.cluster.replace(copied)
	f.pool.Reset() // its connections are to the server that is gone
}

func (f *failover) round(point string, replicates, repeats bool) {
	f.t.Helper()
	service := serviceOf(point)
	processes := map[string]*process{}
	for _, name := range []string{"scheduler", "syncer", "item-worker"} {
		env := ""
		if name == service {
			env = "TRIBUTARY_CRASH_AT=" + point
		}
		processes[name] = f.start(name, env)
	}
	copied, held := f.begin(replicates)
	held.open()
	if point == "" {
		f.awaitClosed(f.stored, 1)
		f.awaitClosed(f.handled, 1)
	} else {
		<-processes[service].ended
	}
	f.fallBack(copied)
	if point != "" {
		f.start(service)
	}
	attempts := f.wantAll()
	if repeats && attempts < 3 {
		f.t.Errorf("both runs together took %d attempts, want one of them repeated", attempts)
	}
}

func (f *failover) roundAfter(wait time.Duration) {
	f.t.Helper()
	if f.runs == 0 {
		f.startAll()
	}
	copied, held := f.begin(true)
	held.open()
	<-time.After(wait)
	f.fallBack(copied)
	f.wantAll()
}

// wantAll waits for the end of both runs and compares what they left with the upstream. It returns how many attempts they took together.
func (f *failover) wantAll() (attempts int) {
	f.t.Helper()
	attempts = f.wantSucceeded(f.runs, f.stored, f.handled)
	f.wantWhole(f.recordIDs(f.stored))
	return attempts
}

// wantSucceeded waits for the end of the n-th runs of integrations, and returns how many attempts they took together.
func (w *world) wantSucceeded(n int, integrations ...uuid.UUID) (attempts int) {
	w.t.Helper()
	newest := strconv.FormatInt(w.newest(), 10)
	for _, id := range integrations {
		run := w.awaitClosed(id, n)
		attempts += int(run.Attempts)
		if run.State != "succeeded" {
			w.t.Errorf("the run is %s: %s", run.State, run.Error)
		}
		w.wantCursor(id, newest)
	}
	return attempts
}

// wantWhole has every record of the upstream be stored and handled.
func (w *world) wantWhole(stored []string) {
	w.t.Helper()
	missing := []string{}
	settled := map[int64]bool{}
	for _, h := range w.handlings("") {
		settled[h.Entry.Seq] = true
	}
	kept := map[string]bool{}
	for _, id := range stored {
		kept[id] = true
	}
	w.upstream.mu.Lock()
	defer w.upstream.mu.Unlock()
	for _, e := range w.entries {
		if !kept[e.ID] {
			missing = append(missing, "record "+e.ID)
		}
		if !settled[e.Seq] {
			missing = append(missing, "handling of "+e.ID)
		}
	}
	if len(missing) > 0 {
		w.t.Errorf("%d are missing: %s", len(missing), strings.Join(missing[:min(len(missing), 10)], ", "))
	}
}

// recordIDs lists the external ids of an integration's records.
func (f *failover) recordIDs(id uuid.UUID) []string {
	f.t.Helper()
	var ids []string
	f.cluster.query(f.cluster.primary.url, "select coalesce(array_agg(external_id), '{}') from records where integration_id = '"+id.String()+"'", &ids)
	return ids
}
