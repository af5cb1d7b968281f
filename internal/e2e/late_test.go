package e2e_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/events"
)

// TestLateLook promotes an asynchronous standby that lacks the webhooks and the commands of the last seconds. With a bound they are stored and carried out again; without
// one they are gone.
func TestLateLook(t *testing.T) {
	for name, bound := range map[string]time.Duration{"with a bound": 45 * time.Second, "without": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, c := natstest.NewListening(t), newCluster(t)
			w := newWorldAt(t, server.URL(), server.Connect(), c.line.URL)
			w.nats, w.env = server, []string{"TRIBUTARY_DATABASE_LAG_BOUND=" + bound.String()}
			w.start("scheduler")
			w.start("item-worker")
			in := w.startIngress()
			id, paused := w.createHooked("hooked"), w.create("two", "feed")
			url := in.url + "/integrations/hooked/one/webhook"
			if !w.pushUntilTaken(url, "before", entry{ID: "before", Seq: 1}) {
				t.Fatal("not taken")
			}
			w.awaitWebhooks(id, "processed", 1)
			copied := c.backUp(true)
			copied.wire.Cut()
			const deliveries = 20
			for n := range deliveries {
				if !w.pushUntilTaken(url, fmt.Sprint("d", n), entry{ID: fmt.Sprint("r", n), Seq: int64(n + 2)}) {
					t.Fatal("not taken")
				}
			}
			w.command(events.VerbPause, "two", "")
			w.awaitWebhooks(id, "processed", deliveries+1)
			w.await("the pause", func() bool { return w.integration(paused).Status == "paused" })
			if bound == 0 {
				w.awaitEmpty(wire.StreamWebhooks)
				w.awaitEmpty(wire.StreamCommands)
			}
			c.failOver(copied)
			w.pool.Reset() // its connections are to the server that is gone
			if bound == 0 {
				if rows, status := len(w.webhooks(id)), w.integration(paused).Status; rows != 1 || status != "active" {
					t.Errorf("the standby has %d webhooks, and the integration is %s: nothing was lost, so that this test tests nothing", rows, status)
				}
				return
			}
			w.awaitWebhooks(id, "processed", deliveries+1)
			w.await("the pause", func() bool { return w.integration(paused).Status == "paused" })
			w.awaitEmpty(wire.StreamWebhooks)
			w.awaitEmpty(wire.StreamCommands)
		})
	}
}

// TestCommandFoundLate has a scheduler die after it has seen that Postgres still has a command, and before it acknowledges it: another carries out what was commanded
// since, and the first command no second time.
func TestCommandFoundLate(t *testing.T) {
	w := newWorld(t)
	w.env = []string{"TRIBUTARY_DATABASE_LAG_BOUND=" + silence.String()}
	first := w.start("scheduler", "TRIBUTARY_CRASH_AT=scheduler: command found late")
	id := w.createHooked("hooked")
	w.command(events.VerbPause, "one", "")
	<-first.ended
	if status := w.integration(id).Status; status != "paused" {
		t.Fatalf("the integration is %s", status)
	}
	w.command(events.VerbResume, "one", "")
	w.start("scheduler")
	w.await("the integration to be resumed", func() bool { return w.integration(id).Status == "active" })
	w.awaitEmpty(wire.StreamCommands)
	if status := w.integration(id).Status; status != "active" {
		t.Errorf("the integration is %s: the first command was carried out again", status)
	}
}

// awaitEmpty waits until every message of a stream is acknowledged.
func (w *world) awaitEmpty(stream string) {
	w.t.Helper()
	js, err := w.nc.JetStream()
	if err != nil {
		w.t.Fatal(err)
	}
	w.await(stream+" to be empty", func() bool {
		info, err := js.StreamInfo(stream)
		return err == nil && info.State.Msgs == 0
	})
}
