package webhookingress_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The attacks come from addresses of this machine, to which the share of a client applies as to any other.

// patient has an ingress wait for slow senders longer than a test takes, so that nothing ends by itself.
func patient(f *fixture) {
	f.settings.HeaderTimeout, f.settings.BodyTimeout, f.settings.Stall = time.Hour, time.Hour, time.Hour
	f.settings.CallTimeout = time.Hour
}

// dial opens a connection from an address of this machine, and writes a text.
func (f *fixture) dial(from, text string) net.Conn {
	f.t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := dialer.DialContext(f.t.Context(), "tcp", f.host())
	f.must(err)
	f.t.Cleanup(func() { _ = c.Close() })
	_, _ = io.WriteString(c, text)
	return c
}

func (f *fixture) host() string {
	return strings.TrimSuffix(strings.TrimPrefix(f.url, "http://"), "/integrations/")
}

// from is a client at an address of this machine.
func from(t *testing.T, address string) *http.Client {
	t.Helper()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	transport := &http.Transport{DialContext: dialer.DialContext, MaxIdleConnsPerHost: 100}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func head(length int) string {
	return fmt.Sprintf("POST /integrations/signed/one/webhook HTTP/1.1\r\nHost: x\r\nX-Hub-Signature-256: sha256=%064d\r\nContent-Length: %d\r\n\r\n", 0, length)
}

// Senders that announce a body and send one byte of it hold no turn and next to no memory.
func TestBodiesThatNeverCome(t *testing.T) {
	f := newFixture(t, patient)
	f.ready()
	before := f.ingress.FreeRequests()
	for i := range 520 {
		f.dial(fmt.Sprintf("127.0.1.%d", i%26+1), head(1000)+"{")
	}
	f.await("all of them", func() bool { return before-f.ingress.FreeRequests() == 520 })
	for i := range 20 {
		if got := f.send("signed/one/webhook", fmt.Sprint("real-", i), key, "{}"); got.code != 200 {
			t.Fatalf("beside them: %d %q", got.code, got.status)
		}
	}
}

// One address with as many connections as there are leaves half of them to others.
func TestConnectionsOfOneAddress(t *testing.T) {
	f := newFixture(t, patient, func(f *fixture) { f.settings.Connections = 64 })
	f.ready()
	var ended atomic.Int64
	for range 100 {
		c := f.dial("127.0.1.1", head(1000)+"{")
		go func() {
			_, _ = io.Copy(io.Discard, c)
			ended.Add(1)
		}()
	}
	f.await("those beyond the share to be closed", func() bool { return ended.Load() >= 68 })
	if got := f.send("signed/one/webhook", "real", key, "{}"); got.code != 200 {
		t.Errorf("beside them: %d %q", got.code, got.status)
	}
	if n := ended.Load(); n > 72 {
		t.Errorf("%d of 100 were closed, want those beyond half of 64 and of what others have", n)
	}
}

// Bodies that lack only their end stay within the budget, however many there are, and leave room for what others send.
func TestBodiesThatNeverEnd(t *testing.T) {
	f := newFixture(t, patient, func(f *fixture) { f.backlog, f.alone = 16<<20, true })
	f.ready()
	whole := bytes.Repeat([]byte("x"), 1<<20)
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	const senders, addresses = 512, 32
	var refused atomic.Int64
	for i := range senders {
		c := f.dial(fmt.Sprintf("127.0.1.%d", i%addresses+1), head(len(whole)))
		go func() { _, _ = c.Write(whole[:len(whole)-1]) }()
		go func() {
			_, _ = io.Copy(io.Discard, c)
			refused.Add(1)
		}()
	}
	budget := f.settings.BodyBudget
	// Each address has as much as is left free at most, so that so many leave 1/33 free.
	f.await("the budget to be used", func() bool { return f.ingress.FreeBodyBytes() < budget/20 && refused.Load() > senders/2 })
	if grown, most := heap()-before, budget+senders*(64<<10); grown > most {
		t.Errorf("the heap has grown by %d MiB, more than %d MiB", grown>>20, most>>20)
	}
	body := strings.Repeat("r", 64<<10)
	for i := range 20 {
		if got := f.send("signed/one/webhook", fmt.Sprint("real-", i), key, body[i:]); got.code != 200 {
			t.Fatalf("beside them: %d %q", got.code, got.status)
		}
	}
	if free := f.ingress.FreeBodyBytes(); free < 0 {
		t.Errorf("the budget is overdrawn by %d", -free)
	}
}

// What was given to bodies comes back, whatever came of them.
func TestBudgetIsGivenBack(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.settings.Stall = 50 * time.Millisecond })
	f.ready()
	f.send("signed/one/webhook", "1", "guess", strings.Repeat("r", 100<<10))
	f.send("signed/one/webhook", "2", key, "panic")
	f.dial("127.0.0.2", head(100_000)+strings.Repeat("x", 50_000))
	_ = f.dial("127.0.0.3", head(100_000)+strings.Repeat("x", 50_000)).Close()
	f.dial("127.0.0.4", head(1)+"x")
	f.await("all of it", func() bool {
		return f.ingress.FreeBodyBytes() == f.settings.BodyBudget && f.ingress.FreeRequests() == int64(f.settings.Connections)
	})
}

// A sender that brings less than the least rate is dropped, and one that keeps to it is not.
func TestLeastRate(t *testing.T) {
	f := newFixture(t, func(f *fixture) {
		f.settings.Stall, f.settings.MinRate, f.settings.BodyTimeout = 8*time.Second, 1, time.Hour
	})
	f.ready()
	slow := f.dial("127.0.0.2", head(100)+"x")
	code := make(chan string, 1)
	go func() {
		line := make([]byte, len("HTTP/1.1 400"))
		_, _ = io.ReadFull(slow, line)
		code <- string(line)
	}()
	body := []byte(`{"a":"0123456789"}`)
	steady := f.dial("127.0.0.3", fmt.Sprintf("POST /integrations/signed/one/webhook HTTP/1.1\r\nHost: x\r\nX-Hub-Signature-256: %s\r\nContent-Length: %d\r\n\r\n", sign(key, body), len(body)))
	tick := time.NewTicker(600 * time.Millisecond)
	defer tick.Stop()
	for i := range body {
		<-tick.C
		_, err := steady.Write(body[i : i+1])
		f.must(err)
	}
	line := make([]byte, len("HTTP/1.1 200"))
	if _, err := io.ReadFull(steady, line); string(line) != "HTTP/1.1 200" {
		t.Errorf("the steady sender: %q %v", line, err)
	}
	if got := <-code; got != "HTTP/1.1 400" {
		t.Errorf("the slow sender: %q", got)
	}
}

// Headers that never end take no place from others: the connection that waits longest goes.
func TestHeadersThatNeverEnd(t *testing.T) {
	f := newFixture(t, patient, func(f *fixture) { f.settings.Connections = 64 })
	f.ready()
	var ended atomic.Int64
	const attackers = 300
	for i := range attackers {
		c := f.dial(fmt.Sprintf("127.0.%d.%d", 1+i/200, i%200+1), "POST /integrations/signed/one/webhook HTTP/1.1\r\nX-A: ")
		go func() {
			_, _ = io.Copy(io.Discard, c)
			ended.Add(1)
		}()
	}
	f.await("the oldest of them to be closed", func() bool { return ended.Load() >= attackers-64 })
	for i := range 5 {
		resp, err := from(t, fmt.Sprintf("127.0.9.%d", i+1)).Do(f.request("signed/one/webhook", fmt.Sprint("real-", i), key, []byte("{}")))
		f.must(err)
		if resp.StatusCode != 200 {
			t.Errorf("beside them: %s", resp.Status)
		}
		f.must(resp.Body.Close())
	}
}

// Thousands of requests of one address, each with a large body and a wrong signature, do not keep another address from its turn.
func TestFloodOfOneAddress(t *testing.T) {
	f := newFixture(t, patient, func(f *fixture) {
		f.settings.Checks, f.settings.InFlight, f.settings.StoreTimeout = 1, 8, 30*time.Second
	})
	f.ready()
	body := bytes.Repeat([]byte("x"), 64<<10)
	ctx, stop := context.WithCancel(t.Context())
	stranger := from(t, "127.0.1.1")
	var flood sync.WaitGroup
	var answered atomic.Int64
	for range 100 {
		flood.Go(func() {
			for ctx.Err() == nil {
				req := f.request("signed/one/webhook", "", "guess", body).WithContext(ctx)
				if resp, err := stranger.Do(req); err == nil {
					_ = resp.Body.Close()
					answered.Add(1)
				}
			}
		})
	}
	f.await("the flood", func() bool { return answered.Load() > 200 })
	sender := from(t, "127.0.0.2")
	for i := range 50 {
		resp, err := sender.Do(f.request("signed/one/webhook", fmt.Sprint("real-", i), key, []byte("{}")))
		f.must(err)
		if resp.StatusCode != 200 {
			t.Errorf("beside the flood: %s", resp.Status)
		}
		f.must(resp.Body.Close())
	}
	f.await("thousands of them", func() bool { return answered.Load() > 2000 })
	stop()
	flood.Wait()
}
