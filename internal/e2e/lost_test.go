package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/events"
)

// unhurried makes services slow to look after silent runs by themselves: what goes on within a test's patience was
// noticed.
const unhurried = 40 * time.Second

// Buckets that are deleted and made anew while services are connected are noticed. The run that was under way starts
// again, and the next close as fast as ever.
func TestBucketsAreMadeAnew(t *testing.T) {
	w := newWorld(t)
	w.timing = unhurried
	w.fill(300)
	begun := w.gate()
	w.setOnPage(func(after int64, _ int) int {
		if after >= 200 {
			begun.wait()
		}
		return 0
	})
	services := w.startAll()
	id := w.create("one", "feed")
	w.await("checkpoints", func() bool { return w.count("", "ok") > 0 })
	js, err := jetstream.New(w.nc)
	if err != nil {
		t.Fatal(err)
	}
	for _, bucket := range []string{
		wire.BucketCheckpoints, wire.BucketWorkers, wire.BucketLimits, wire.BucketCircuits,
		wire.BucketDirectory,
	} {
		stream, err := js.Stream(t.Context(), "KV_"+bucket)
		if err != nil {
			t.Fatal(err)
		}
		if err := js.DeleteStream(t.Context(), "KV_"+bucket); err != nil {
			t.Fatal(err)
		}
		if _, err := js.CreateStream(t.Context(), stream.CachedInfo().Config); err != nil {
			// A service was faster.
			t.Log(err)
		}
	}
	begun.open()
	w.wantRun(w.awaitClosed(id, 1), "succeeded", 300, 0)
	w.wantCursor(id, "300")
	for n := range 3 {
		w.put(fmt.Sprintf("more%d", n), "x")
		w.command(events.VerbSync, id.String(), "")
		w.wantRun(w.awaitClosed(id, n+2), "succeeded", 1, 0)
	}
	w.wantHistory()
	told := strings.Count(services[0].output.tail(), `made anew; whatever follows it starts over" store=`+
		wire.BucketCheckpoints+" ")
	if told > 1 {
		t.Errorf("the scheduler told %d times of one loss", told)
	}
}

// NATS comes back with the store of an earlier moment while everything lives on: nothing is lost, and runs go on within
// seconds.
func TestNATSGoesBack(t *testing.T) {
	t.Parallel()
	dir, kept := filepath.Join(t.TempDir(), "nats"), filepath.Join(t.TempDir(), "kept")
	port := freePort(t)
	broker := startBroker(t, dir, port)
	address := "nats://127.0.0.1:" + port
	nc, err := nats.Connect(address, nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond),
		nats.RetryOnFailedConnect(true))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	w := newWorldOn(t, address, nc)
	w.timing = unhurried
	w.fill(600)
	services := w.startAll()
	id := w.create("one", "feed")
	w.wantRun(w.awaitClosed(id, 1), "succeeded", 600, 0)

	restart := func(between func() error) {
		t.Helper()
		broker.kill()
		if err := between(); err != nil {
			t.Fatal(err)
		}
		broker = startBroker(t, dir, port)
	}
	restart(func() error { return os.CopyFS(kept, os.DirFS(dir)) })
	for n := range 600 {
		w.put(fmt.Sprintf("later%d", n), "x")
	}
	w.setJudge(func(handled) verdict { <-time.After(5 * time.Millisecond); return verdict{} })
	before := w.count("", "ok")
	w.command(events.VerbSync, id.String(), "")
	w.await("work of the second run", func() bool { return w.count("", "ok") > before+100 })
	restart(func() error {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
		return os.CopyFS(dir, os.DirFS(kept))
	})
	w.wantRun(w.awaitClosed(id, 2), "succeeded", 600, 0)
	w.wantHistory()
	w.await("the line that tells of it", func() bool {
		return strings.Contains(services[0].output.tail(), "NATS went back to an earlier state")
	})
	w.put("last", "x")
	w.command(events.VerbSync, id.String(), "")
	w.wantRun(w.awaitClosed(id, 3), "succeeded", 1, 0)
}
