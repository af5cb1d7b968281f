package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// A full disk under NATS stops everything and loses nothing: what is not stored is not acknowledged, and goes on when there is room again.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Skipf("a small file system can't be mounted here (%v); this test needs root", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	port := freePort(t)
	broker := startBroker(t, filepath.Join(dir, "nats"), port)
	url := "nats://127.0.0.1:" + port
	nc, err := nats.Connect(url, nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond), nats.RetryOnFailedConnect(true))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	w := newWorldOn(t, url, nc)
	w.env = append(w.env, "TRIBUTARY_WEBHOOK_BACKLOG=1")
	for n := range 400 {
		w.put(fmt.Sprintf("r%d", n), strings.Repeat("x", 2000))
	}
	begun := w.gate()
	w.setOnPage(func(after int64, _ int) int {
		if after >= 100 {
			begun.wait()
		}
		return 0
	})
	address := "127.0.0.1:" + freePort(t)
	w.start("scheduler")
	w.start("item-worker")
	syncer := w.startServing("syncer", address)
	id := w.create("one", "feed")
	w.await("the first records", func() bool { return w.count("", "ok") > 0 })
	ballast := filepath.Join(dir, "ballast")
	fill(t, ballast)
	begun.open()
	w.await("the enumeration to be held up", func() bool { return w.requests() >= 4 })
	if run := w.runs(id)[0]; run.ClosedAt != nil {
		t.Errorf("the run is %s on a full disk", run.State)
	}
	w.await("the syncer not to be ready", func() bool {
		code, says := readyz(t, address)
		return code == http.StatusServiceUnavailable && strings.Contains(says, "NATS: not ok")
	})
	w.await("the log to say why", func() bool { return strings.Contains(syncer.output.tail(), "NATS does not store messages") })
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	// nats-server turns JetStream off when its disk is full, and on again when it is started anew.
	broker.kill()
	startBroker(t, filepath.Join(dir, "nats"), port)
	w.await("the end of the run", func() bool { return w.cursor(id) == "400" })
	w.await("the syncer to be ready again", func() bool { code, _ := readyz(t, address); return code == http.StatusOK })
	w.wantHistory()
}

// fill writes until the disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	block := make([]byte, 4096)
	for {
		if _, err := file.Write(block); err != nil {
			return
		}
	}
}
