package e2e_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
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

func snapshotRound(t *testing.T, point string) {
	t.Helper()
	t.Parallel()
	dir, kept := filepath.Join(t.TempDir(), "nats"), filepath.Join(t.TempDir(), "kept")
	port := freePort(t)
	broker := startBroker(t, dir, port)
	address := "nats://127.0.0.1:" + port
	nc, err := nats.Connect(address, nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond), nats.RetryOnFailedConnect(true))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	w := newWorldOn(t, address, nc)
	w.timing = unhurried
	restart := func(between func() error) {
		t.Helper()
		broker.kill()
		if err := between(); err != nil {
			t.Fatal(err)
		}
		broker = startBroker(t, dir, port)
	}
	processes := map[string]*process{}
	service := serviceOf(point)
	for _, name := range []string{"scheduler", "syncer", "item-worker"} {
		env := ""
		if name == service {
			env = "TRIBUTARY_CRASH_AT=" + point
		}
		processes[name] = w.start(name, env)
	}
	held := w.gate()
	w.setOnPage(func(int64, int) int { held.wait(); return 0 })
	w.fill(300)
	stored, handled := w.create("stored", "table"), w.create("handled", "feed")
	w.await("both runs to begin", func() bool {
		for _, id := range []uuid.UUID{stored, handled} {
			if runs := w.runs(id); len(runs) < 1 || runs[0].State != "enumerating" {
				return false
			}
		}
		return true
	})
	restart(func() error { return os.CopyFS(kept, os.DirFS(dir)) })
	held.open()
	if point == "" {
		w.awaitClosed(stored, 1)
		w.awaitClosed(handled, 1)
	} else {
		<-processes[service].ended
	}
	restart(func() error {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
		return os.CopyFS(dir, os.DirFS(kept))
	})
	back := time.Now()
	if point != "" {
		w.start(service)
	}
	if service == "scheduler" {
		// No process lives that drives runs and has seen what NATS had. The runs go on once they have been silent for long.
		for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); {
			if w.runs(stored)[0].ClosedAt != nil && w.runs(handled)[0].ClosedAt != nil {
				break
			}
			<-time.After(100 * time.Millisecond)
		}
		t.Logf("the runs have ended after %s", time.Since(back).Round(time.Second))
	}
	w.wantSucceeded(1, stored, handled)
	var ids []string
	if err := w.pool.QueryRow(t.Context(), "select coalesce(array_agg(external_id), '{}') from records where integration_id = $1", stored).Scan(&ids); err != nil {
		t.Fatal(err)
	}
	w.wantWhole(ids)
}
