package e2e_test

import (
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/events"
)

// TestProveClusterLeaders has the leaders of all streams, buckets and consumers of a cluster step down, one after the other and again and again, while a run is
// under way: it closes with every record handled.
func TestProveClusterLeaders(t *testing.T) {
	if os.Getenv("PROVE") == "" {
		t.Skip("make prove runs this")
	}
	c := newClustered(t, 3)
	c.brokers.awaitWhole(c.world, 3)
	c.setJudge(func(handled) verdict { <-time.After(5 * time.Millisecond); return verdict{} })
	c.fill(3000)
	id := c.create("one", "feed")
	c.await("items to be handled", func() bool { return c.count("", "ok") > 100 })
	down := 0
	for round := 0; round < 2 || c.runs(id)[0].ClosedAt == nil && round < 10; round++ {
		for _, stream := range c.brokers.names() {
			c.brokers.stepDown(c.world, stream)
			down++
		}
	}
	c.wantSynced(id, 1, 3000)
	t.Logf("%d leaders of streams stepped down; %d handlings of 3,000 items", down, c.count("", "ok"))
	c.awaitReady(http.StatusOK, "ok")
	c.again(id, 2)
}

// TestProveClusterNode kills a server that leads the stream of items while a run is under way, starts it again, and then kills another: what came back carries on.
func TestProveClusterNode(t *testing.T) {
	if os.Getenv("PROVE") == "" {
		t.Skip("make prove runs this")
	}
	c := newClustered(t, 3)
	c.brokers.awaitWhole(c.world, 3)
	c.setJudge(func(handled) verdict { <-time.After(5 * time.Millisecond); return verdict{} })
	c.fill(3000)
	id := c.create("one", "feed")
	c.await("items to be handled", func() bool { return c.count("", "ok") > 100 })
	first := c.brokers.leader(wire.StreamItems)
	c.brokers.nodes[first].kill()
	c.wantSynced(id, 1, 3000)
	c.awaitReady(http.StatusOK, "ok")
	c.brokers.start(first)
	c.brokers.awaitWhole(c.world, 3)
	for name, n := range c.brokers.nodes {
		if name != first {
			n.kill()
			break
		}
	}
	c.again(id, 2)
	c.awaitReady(http.StatusOK, "ok")
}

// TestProveClusterQuorum takes the quorum from a cluster, and the only server that has a bucket: the scheduler is not ready and says why, and everything goes on once the
// servers are back.
func TestProveClusterQuorum(t *testing.T) {
	if os.Getenv("PROVE") == "" {
		t.Skip("make prove runs this")
	}
	for name, test := range map[string]struct {
		replicas int
		// says is what the warning has.
		says string
	}{
		"two of three servers die":           {3, "NATS"},
		"the server of a bucket's only copy": {1, wire.BucketCheckpoints},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClustered(t, test.replicas)
			c.brokers.awaitWhole(c.world, test.replicas)
			c.fill(300)
			id := c.create("one", "feed")
			c.wantSynced(id, 1, 300)
			dead := []string{c.brokers.leader("KV_" + wire.BucketCheckpoints)}
			for node := range c.brokers.nodes {
				if len(dead) < (test.replicas+1)/2 && node != dead[0] {
					dead = append(dead, node)
				}
			}
			for _, node := range dead {
				c.brokers.nodes[node].kill()
			}
			c.awaitReady(http.StatusServiceUnavailable, "not ok")
			c.wantWarning()
			c.await("doctor to say why", func() bool {
				said := c.doctor()
				return strings.Contains(said, test.says) && strings.Contains(said, "FAIL  services  scheduler: ")
			})
			c.wantMetric(`tributary_ready{check="NATS"} 0`)
			for _, node := range dead {
				c.brokers.start(node)
			}
			c.awaitReady(http.StatusOK, "ok")
			c.wantMetric(`tributary_ready{check="NATS"} 1`)
			c.brokers.awaitWhole(c.world, test.replicas)
			c.again(id, 2)
		})
	}
}

// wantSynced waits for the end of a run, and wants every record handled.
func (c *clustered) wantSynced(id uuid.UUID, n int, items int64) {
	c.t.Helper()
	c.wantRun(c.awaitClosed(id, n), "succeeded", items, 0)
	c.wantHistory()
}

// again syncs one more record.
func (c *clustered) again(id uuid.UUID, n int) {
	c.t.Helper()
	c.put("later", "x")
	c.command(events.VerbSync, id.String(), "")
	c.wantSynced(id, n, 1)
}

// wantWarning waits for the log line that says that NATS is not well. It has what was found first.
func (c *clustered) wantWarning() {
	c.t.Helper()
	c.await("a warning", func() bool {
		for line := range strings.Lines(c.scheduler.output.tail()) {
			if strings.Contains(line, `level=WARN msg="not ready" check=NATS error=`) {
				return true
			}
		}
		return false
	})
}

func (c *clustered) wantMetric(line string) {
	c.t.Helper()
	c.await("the metric "+line, func() bool {
		res, err := http.Get("http://" + c.health + "/metrics")
		if err != nil {
			return false
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		return err == nil && strings.Contains(string(body), line)
	})
}
