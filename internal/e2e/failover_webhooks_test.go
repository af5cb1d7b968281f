package e2e_test

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/wire"
)

// TestProveFailoverWebhooks has a process die at each crash point on the way of webhooks, and Postgres go back to what it
// was before they came. With a bound for the lag, each that was answered is a row afterwards, and its record is stored.
func TestProveFailoverWebhooks(t *testing.T) {
	if os.Getenv("PROVE") == "" {
		t.Skip("make prove runs this")
	}
	for _, point := range []string{
		"webhook-ingress: webhook stored", "item-worker: webhook stored", "item-worker: webhooks claimed", "item-worker: records stored",
		"item-worker: records committed", "item-worker: webhook's items handled", "item-worker: before webhook finished",
		"item-worker: webhook finished",
	} {
		for _, how := range []loss{promotion, backup} {
			t.Run(point+", "+string(how), func(t *testing.T) { failWebhooksOver(t, point, how) })
		}
	}
}

func failWebhooksOver(t *testing.T, point string, how loss) {
	t.Helper()
	t.Parallel()
	server, c := natstest.NewListening(t), newCluster(t)
	w := newWorldAt(t, server.URL(), server.Connect(), c.line.URL)
	w.nats, w.env = server, []string{"TRIBUTARY_DATABASE_LAG_BOUND=45s"}
	service := serviceOf(point)
	w.start("scheduler")
	in := w.startIngress()
	processes := map[string]*process{"item-worker": w.start("item-worker"), "webhook-ingress": in.process}
	id := w.createHooked("quiet")
	url := in.url + "/integrations/quiet/one/webhook"
	if !w.pushUntilTaken(url, "before", entry{ID: "before", Seq: 1}) {
		t.Fatal("not taken")
	}
	w.awaitWebhooks(id, "processed", 1)
	copied := c.backUp(how == promotion)
	copied.wire.Cut()
	processes[service].stop()
	dying := w.start(service, "TRIBUTARY_CRASH_AT="+point)
	const deliveries = 20
	var senders sync.WaitGroup
	for n := range deliveries {
		senders.Go(func() {
			if !w.pushUntilTaken(url, fmt.Sprint("d", n), entry{ID: fmt.Sprint("r", n), Seq: int64(n + 2)}) {
				t.Errorf("delivery %d was never taken", n)
			}
		})
	}
	<-dying.ended
	if service == "webhook-ingress" {
		w.start(service)
	}
	senders.Wait()
	c.failOver(copied)
	w.pool.Reset() // its connections are to the server that is gone
	if service != "webhook-ingress" {
		w.start(service)
	}
	w.awaitWebhooks(id, "processed", deliveries+1)
	w.awaitEmpty(wire.StreamWebhooks)
	var stored []string
	c.query(c.primary.url, "select array_agg(external_id) from records where integration_id = '"+id.String()+"'", &stored)
	for n := range deliveries {
		if !slices.Contains(stored, fmt.Sprint("r", n)) {
			t.Errorf("the record of delivery %d is missing", n)
		}
	}
}
