package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// brokers is a cluster of three nats-servers, each a process of its own.
type brokers struct {
	t     *testing.T
	nodes map[string]*broker
	url   string
	nc    *nats.Conn
	js    jetstream.JetStream
}

// broker is a server of the cluster.
type broker struct {
	*process
	dir, port string
	cluster   []string
}

func newBrokers(t *testing.T) *brokers {
	t.Helper()
	b := &brokers{t: t, nodes: map[string]*broker{}}
	names, routes, urls := []string{"n1", "n2", "n3"}, []string{}, []string{}
	for range names {
		routes = append(routes, freePort(t))
	}
	dir := t.TempDir()
	for i, name := range names {
		n := &broker{dir: filepath.Join(dir, name), port: freePort(t), cluster: append([]string{name, routes[i]}, routes...)}
		b.nodes[name] = n
		urls = append(urls, "nats://127.0.0.1:"+n.port)
		b.start(name)
	}
	b.url = strings.Join(urls, ",")
	nc, err := nats.Connect(b.url, nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond), nats.RetryOnFailedConnect(true))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	b.nc = nc
	if b.js, err = jetstream.New(nc); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *brokers) start(name string) {
	b.t.Helper()
	n := b.nodes[name]
	n.process = startBroker(b.t, n.dir, n.port, n.cluster...)
}

// names are the names of the streams, those of buckets among them.
func (b *brokers) names() []string {
	var names []string
	lister := b.js.StreamNames(b.t.Context())
	for name := range lister.Name() {
		names = append(names, name)
	}
	return names
}

// leader is the server that leads a stream; empty while none does.
func (b *brokers) leader(stream string) string {
	s, err := b.js.Stream(b.t.Context(), stream)
	if err != nil || s.CachedInfo().Cluster == nil {
		return ""
	}
	return s.CachedInfo().Cluster.Leader
}

// stepDown has the leader of a stream, and those of its consumers, give up.
func (b *brokers) stepDown(w *world, stream string) {
	b.t.Helper()
	w.await(stream+" to have a leader", func() bool { return b.leader(stream) != "" })
	if s, err := b.js.Stream(b.t.Context(), stream); err == nil {
		for consumer := range s.ConsumerNames(b.t.Context()).Name() {
			// A consumer of a watch may be gone by now.
			_, _ = b.nc.Request("$JS.API.CONSUMER.LEADER.STEPDOWN."+stream+"."+consumer, nil, time.Second)
		}
	}
	w.await(stream+"'s leader to step down", func() bool {
		answer, err := b.nc.Request("$JS.API.STREAM.LEADER.STEPDOWN."+stream, nil, time.Second)
		var reply struct{ Success bool }
		return err == nil && json.Unmarshal(answer.Data, &reply) == nil && reply.Success
	})
}

// awaitWhole waits until every stream has a leader and all its copies.
func (b *brokers) awaitWhole(w *world, copies int) {
	b.t.Helper()
	w.await("every stream to have its copies", func() bool {
		names := b.names()
		for _, name := range names {
			s, err := b.js.Stream(b.t.Context(), name)
			if err != nil || s.CachedInfo().Cluster == nil || s.CachedInfo().Cluster.Leader == "" {
				return false
			}
			current := 1
			for _, replica := range s.CachedInfo().Cluster.Replicas {
				if replica.Current && !replica.Offline {
					current++
				}
			}
			if current < copies {
				return false
			}
		}
		return len(names) > 0
	})
}

// clustered is a world on three servers, with the address at which its scheduler says whether it is ready.
type clustered struct {
	*world
	brokers   *brokers
	scheduler *process
	health    string
}

func newClustered(t *testing.T, replicas int) *clustered {
	t.Helper()
	t.Parallel()
	b := newBrokers(t)
	c := &clustered{world: newWorldOn(t, b.url, b.nc), brokers: b, health: "127.0.0.1:" + freePort(t)}
	c.lease = steadily
	c.env = []string{"TRIBUTARY_NATS_REPLICAS=" + strconv.Itoa(replicas)}
	c.scheduler = c.startServing("scheduler", c.health)
	c.start("syncer")
	c.start("item-worker")
	c.awaitReady(http.StatusOK, "ok")
	return c
}

func (c *clustered) awaitReady(status int, says string) {
	c.t.Helper()
	var got int
	var body string
	c.await(fmt.Sprintf("%d of /readyz", status), func() bool {
		got, body = readyz(c.t, c.health)
		return got == status && strings.Contains(body, "NATS: "+says)
	})
}
