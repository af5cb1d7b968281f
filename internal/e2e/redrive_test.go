package e2e_test

import (
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/events"
)

// A worker that is told to stop while a retried item still waits for its turn hands it back.
func TestRetriedItemSurvivesAStop(t *testing.T) {
	w := newWorld(t)
	w.put("bad", "plain")
	var mended atomic.Bool
	var hanging atomic.Int64
	turn := w.gate()
	w.setJudge(func(handled) verdict {
		if !mended.Load() {
			return verdict{Do: "permanent"}
		}
		return verdict{}
	})
	busy := newUpstream(t)
	busy.fill(8)
	busy.setJudge(func(handled) verdict {
		hanging.Add(1)
		turn.wait()
		return verdict{}
	})
	w.start("scheduler")
	w.start("syncer")
	worker := w.start("item-worker")
	id := w.create("one", "feed")
	w.wantRun(w.awaitClosed(id, 1), "failed", 1, 1)
	mended.Store(true)
	other := w.createAt(busy, "two", "feed")
	w.await("all slots to be taken", func() bool { return hanging.Load() == 8 })
	w.command(events.VerbRetry, "one", `{"all":true}`)
	js, err := w.nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	consumer := func() *nats.ConsumerInfo {
		info, err := js.ConsumerInfo(wire.StreamItems, "worker-shared-feed", nats.MaxWait(5*time.Second))
		if err != nil {
			return &nats.ConsumerInfo{}
		}
		return info
	}
	w.await("the retried item to be delivered", func() bool { return consumer().NumAckPending == 2 })
	worker.signal(syscall.SIGTERM)
	w.await("the worker to pull no more", func() bool { return consumer().NumWaiting == 0 })
	turn.open()
	<-worker.ended
	w.start("item-worker")
	w.await("the late reduce", func() bool { return w.cursor(id) == "1" })
	w.wantRun(w.awaitClosed(other, 1), "succeeded", 8, 0)
}
