package e2e_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// balancer passes requests on to a process that its last probe found ready, as a Service of Kubernetes does. It learns of a change only by its
// next probe.
type balancer struct {
	mu      sync.Mutex
	members []*member
	next    int
	// unserved counts requests for which no process was ready, broken those that the chosen process did not answer.
	unserved, broken atomic.Int64
}

type member struct {
	proxy *httputil.ReverseProxy
	ready string
	isIn  bool
}

func (b *balancer) add(webhooks, health string) {
	target := &url.URL{Scheme: "http", Host: webhooks}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.Transport = &http.Transport{MaxIdleConnsPerHost: 16}
	proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) {
		b.broken.Add(1)
		w.WriteHeader(http.StatusBadGateway)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.members = append(b.members, &member{proxy: proxy, ready: "http://" + health + "/readyz"})
}

// probe asks all, and returns how many are ready.
func (b *balancer) probe() int {
	b.mu.Lock()
	members := b.members
	b.mu.Unlock()
	in := 0
	for _, m := range members {
		resp, err := http.Get(m.ready)
		ready := err == nil && resp.StatusCode == http.StatusOK
		if err == nil {
			_ = resp.Body.Close()
		}
		b.mu.Lock()
		m.isIn = ready
		b.mu.Unlock()
		if ready {
			in++
		}
	}
	return in
}

func (b *balancer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	var chosen *member
	for range b.members {
		b.next = (b.next + 1) % len(b.members)
		if m := b.members[b.next]; m.isIn {
			chosen = m
			break
		}
	}
	b.mu.Unlock()
	if chosen == nil {
		b.unserved.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	chosen.proxy.ServeHTTP(w, r)
}

// While one ingress replaces another, every webhook that is sent is taken.
func TestRollOutRefusesNothing(t *testing.T) {
	w := newWorld(t)
	w.start("scheduler")
	w.createHooked("hooked")
	b := &balancer{}
	// The delay is longer than the balancer takes to notice, on a busy machine too.
	start := func(delay string) *process {
		webhooks, health := "127.0.0.1:"+freePort(t), "127.0.0.1:"+freePort(t)
		p := w.startServing("webhook-ingress", health, "TRIBUTARY_WEBHOOK_ADDR="+webhooks, "TRIBUTARY_DRAIN_DELAY="+delay)
		b.add(webhooks, health)
		return p
	}
	first := start("15s")
	w.await("the first ingress", func() bool { return b.probe() == 1 })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: b, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	to := "http://" + listener.Addr().String() + "/integrations/hooked/one/webhook"
	w.await("the directory", func() bool { code, _ := w.push(to, "first", entry{ID: "r", Seq: 1}); return code == http.StatusOK })
	b.unserved.Store(0)
	b.broken.Store(0)

	over := make(chan struct{})
	var senders sync.WaitGroup
	var taken atomic.Int64
	for s := range 8 {
		senders.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-over:
					return
				default:
				}
				code, status := w.push(to, fmt.Sprint("d", s, "-", n), entry{ID: fmt.Sprint("r", s, "-", n), Seq: 1})
				if code != http.StatusOK {
					t.Errorf("a webhook is answered with %d %q", code, status)
					return
				}
				taken.Add(1)
			}
		})
	}
	more := func() {
		was := taken.Load()
		w.await("more webhooks", func() bool { return taken.Load() > was+20 })
	}
	more()
	start("0s")
	w.await("the second ingress", func() bool { return b.probe() == 2 })
	more()
	first.signal(syscall.SIGTERM)
	more() // The balancer still sends some to the one that stops.
	w.await("the balancer to notice", func() bool { return b.probe() == 1 })
	more()
	<-first.ended
	if code := first.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	more()
	close(over)
	senders.Wait()
	if b.unserved.Load() > 0 || b.broken.Load() > 0 {
		t.Errorf("%d webhooks found no process, %d were not answered", b.unserved.Load(), b.broken.Load())
	}
	t.Logf("%d webhooks were taken", taken.Load())
}
