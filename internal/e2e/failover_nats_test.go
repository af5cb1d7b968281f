package e2e_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// TestProveSnapshotPoints has a process die at each crash point of the way of items, and NATS go back to what it was
// when the runs had begun, while the other processes live. Afterwards every record is stored and handled.
func TestProveSnapshotPoints(t *testing.T) {
	if os.Getenv("PROVE") == "" {
		t.Skip("make prove runs this")
	}
	for point := range failoverPoints() {
		t.Run(point, func(t *testing.T) { snapshotRound(t, point) })
	}
}

// snapshots is a world whose NATS can be put back to an earlier state while processes live.
type snapshots struct {
	*world
	dir, kept, port string
	broker          *process
}

func newSnapshots(t *testing.T) *snapshots {
	t.Helper()
	t.Parallel()
	s := &snapshots{
		dir: filepath.Join(t.TempDir(), "nats"), kept: filepath.Join(t.TempDir(), "kept"),
		port: freePort(t),
	}
	s.broker = startBroker(t, s.dir, s.port)
	address := "nats://127.0.0.1:" + s.port
	nc, err := nats.Connect(address,
		nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond), nats.RetryOnFailedConnect(true))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	s.world = newWorldOn(t, address, nc)
	s.timing = unhurried
	return s
}

// keep makes a snapshot of the store.
func (s *snapshots) keep() {
	s.t.Helper()
	s.broker.kill()
	if err := os.CopyFS(s.kept, os.DirFS(s.dir)); err != nil {
		s.t.Fatal(err)
	}
	s.broker = startBroker(s.t, s.dir, s.port)
}

// putBack starts NATS, which was killed, on the snapshot.
func (s *snapshots) putBack() {
	s.t.Helper()
	if err := os.RemoveAll(s.dir); err != nil {
		s.t.Fatal(err)
	}
	if err := os.CopyFS(s.dir, os.DirFS(s.kept)); err != nil {
		s.t.Fatal(err)
	}
	s.broker = startBroker(s.t, s.dir, s.port)
}

func snapshotRound(t *testing.T, point string) {
	t.Helper()
	s := newSnapshots(t)
	processes := map[string]*process{}
	service := serviceOf(point)
	for _, name := range []string{"scheduler", "syncer", "item-worker"} {
		env := ""
		if name == service {
			env = "TRIBUTARY_CRASH_AT=" + point
		}
		processes[name] = s.start(name, env)
	}
	held := s.holdPages()
	s.fill(300)
	stored, handled := s.create("stored", "table"), s.create("handled", "feed")
	s.awaitBegun(1, stored, handled)
	s.keep()
	held.open()
	if point == "" {
		s.awaitClosed(stored, 1)
		s.awaitClosed(handled, 1)
	} else {
		<-processes[service].ended
	}
	s.broker.kill()
	s.putBack()
	back := time.Now()
	if point != "" {
		s.start(service)
	}
	if service == "scheduler" {
		// No process lives that drives runs and has seen what NATS had. The runs go on once they have been silent for
		// long.
		s.patience = patiently
	}
	s.wantSucceeded(1, stored, handled)
	t.Logf("the runs have ended after %s", time.Since(back).Round(time.Second))
	var ids []string
	const records = "select coalesce(array_agg(external_id), '{}') from records where integration_id = $1"
	if err := s.pool.QueryRow(t.Context(), records, stored).Scan(&ids); err != nil {
		t.Fatal(err)
	}
	s.wantWhole(ids)
}
