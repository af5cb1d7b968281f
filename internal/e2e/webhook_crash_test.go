package e2e_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/tributaryhq/tributary/internal/wire"
)

// webhookCrashPoints are the named points on the way of a webhook.
func webhookCrashPoints() []string {
	return []string{
		"webhook-ingress: webhook stored", "webhook-ingress: webhook stored#7", "item-worker: webhook stored", "item-worker: webhook stored#9", "item-worker: webhooks claimed",
		"item-worker: webhook's items handled", "item-worker: webhook's items handled#5", "item-worker: before webhook finished", "item-worker: webhook finished#3",
		"scheduler: directory entry written", "item-worker: webhook found late", "item-worker: webhook found late#7",
	}
}

// At every named point a process dies by kill -9 and another takes over. A sender that gets no answer sends again, as senders do. What it got 2xx for is processed, once but
// for what was in work at the death.
func TestWebhookCrashPoints(t *testing.T) {
	for _, point := range webhookCrashPoints() {
		t.Run(point, func(t *testing.T) { crashWebhooksAt(t, point) })
	}
}

func crashWebhooksAt(t *testing.T, point string) {
	t.Helper()
	w := newWorld(t)
	if strings.Contains(point, "late") {
		w.env = append(w.env, "TRIBUTARY_DATABASE_LAG_BOUND=1s")
	}
	// One fails once, so that a retry is among them.
	w.setJudge(func(h handled) verdict {
		if h.Entry.ID == "r5" && h.Try == 1 {
			return verdict{Do: "fail"}
		}
		return verdict{}
	})
	env := "TRIBUTARY_CRASH_AT=" + point
	in := w.startIngress(env)
	processes := []*process{w.start("scheduler", env), w.start("item-worker", env), in.process}
	crashed := make(chan struct{})
	go w.takeOver(processes, serviceOf(point), crashed)
	id := w.createHooked("hooked")
	const deliveries = 40
	var senders sync.WaitGroup
	for n := range deliveries {
		senders.Go(func() {
			if !w.pushUntilTaken(in.url+"/integrations/hooked/one/webhook", fmt.Sprint("d", n), entry{ID: fmt.Sprint("r", n), Seq: int64(n + 1)}) {
				t.Errorf("delivery %d was never taken", n)
			}
		})
	}
	senders.Wait()
	w.await("the crash", func() bool {
		select {
		case <-crashed:
			return true
		default:
			return false
		}
	})
	w.awaitWebhooks(id, "processed", deliveries)
	w.awaitEmpty(wire.StreamWebhooks)
	if rows := w.webhooks(id); len(rows) != deliveries {
		t.Errorf("%d rows, want %d", len(rows), deliveries)
	}
	again := 0
	for n := range deliveries {
		done := w.count(fmt.Sprint("r", n), "ok")
		if done == 0 {
			t.Errorf("delivery %d was never handled", n)
		}
		again += max(done-1, 0)
	}
	// A worker has 64 at most in work when it dies.
	if again > deliveries {
		t.Errorf("%d deliveries were handled again", again)
	}
	t.Logf("%d handled again", again)
}
