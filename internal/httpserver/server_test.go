package httpserver_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/internal/httpserver"
)

// served is a running server. Its handler answers with its client's address, and POST bodies to /held wait until the test ends.
type served struct {
	*httpserver.Server
	t    *testing.T
	addr string
	stop context.CancelFunc
	done chan error
	held chan struct{}
	// entered tells of each request to /held that has begun.
	entered chan struct{}
}

func serve(t *testing.T, adjust func(*httpserver.Config)) *served {
	t.Helper()
	t.Parallel()
	s := &served{t: t, done: make(chan error, 1), held: make(chan struct{}), entered: make(chan struct{}, 8)}
	config := httpserver.Config{
		Name: "the test", Limits: httpserver.DefaultLimits(), Drain: httpserver.Drain{Grace: time.Minute}, Log: slog.New(slog.DiscardHandler),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				return
			}
			if r.URL.Path == "/held" {
				s.entered <- struct{}{}
				<-s.held
			}
			_, _ = fmt.Fprint(w, netip.Prefix(s.Client(r)))
		}),
	}
	config.Limits.Header, config.Limits.Request, config.Limits.Answer = time.Minute, time.Minute, time.Minute
	adjust(&config)
	s.Server = httpserver.New(config)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = listener.Addr().String()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	s.stop = stop
	go func() { s.done <- s.Serve(ctx, listener) }()
	t.Cleanup(stop)
	return s
}

// dial opens a connection from one of the addresses of this machine, and writes a text.
func (s *served) dial(from, text string) net.Conn {
	s.t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := dialer.DialContext(s.t.Context(), "tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	if _, err := io.WriteString(c, text); err != nil {
		s.t.Logf("write: %v", err)
	}
	return c
}

// answer reads one answer; 0 when the connection ends without.
func (s *served) answer(c net.Conn) (int, string) {
	s.t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	text, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text)
}

func (s *served) await(what string, holds func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); {
		if time.Now().After(deadline) {
			s.t.Fatalf("waited a minute for %s", what)
		}
		<-time.After(time.Millisecond)
	}
}

const get = "GET / HTTP/1.1\r\nHost: x\r\n"

// Connections that never send their headers, one of them also over its share, keep nobody out.
func TestFullOfSlowConnections(t *testing.T) {
	s := serve(t, func(c *httpserver.Config) { c.Limits.Connections = 20 })
	for range 30 {
		s.dial("127.0.0.2", "GET /")
	}
	s.await("the share of one address", func() bool { return s.Refused() == 20 })
	for i := range 40 {
		s.dial(fmt.Sprintf("127.0.1.%d", i+1), "GET / HTTP/1.1\r\nX-")
	}
	s.await("all others", func() bool { return s.Refused()+s.Evicted() == 50 })
	if code, text := s.answer(s.dial("127.0.0.3", get+"\r\n")); code != 200 || text != "127.0.0.3/32" {
		t.Errorf("beside slow connections: %d %q", code, text)
	}
}

// A connection that is used is not the one that waits longest, however old it is.
func TestUsedConnectionStays(t *testing.T) {
	s := serve(t, func(c *httpserver.Config) { c.Limits.Connections = 4 })
	old := s.dial("127.0.0.3", get+"\r\n")
	if code, _ := s.answer(old); code != 200 {
		t.Fatalf("answered %d", code)
	}
	slow := s.dial("127.0.0.4", "GET / HT")
	for i := range 2 {
		s.dial(fmt.Sprintf("127.0.0.%d", i+10), "GET")
	}
	s.await("four connections", func() bool { return s.FreeConnections() == 0 })
	if _, err := io.WriteString(old, get); err != nil {
		t.Fatal(err)
	}
	// The first bytes of its next request are read before the next connection comes.
	s.await("the request to begin", func() bool { return s.Waits(old) > s.Waits(slow) })
	if code, _ := s.answer(s.dial("127.0.0.20", get+"\r\n")); code != 200 {
		t.Errorf("the newcomer: %d", code)
	}
	if _, err := io.WriteString(old, "\r\n"); err != nil {
		t.Fatal(err)
	}
	if code, _ := s.answer(old); code != 200 {
		t.Errorf("the used connection: %d", code)
	}
	if code, text := s.answer(slow); code != 0 {
		t.Errorf("the slow connection: %d %q", code, text)
	}
}

// A connection whose request is there is not closed for another.
func TestBusyConnectionStays(t *testing.T) {
	s := serve(t, func(c *httpserver.Config) { c.Limits.Connections = 2 })
	one := s.dial("127.0.0.2", "GET /held HTTP/1.1\r\nHost: x\r\n\r\n")
	two := s.dial("127.0.0.3", "GET /held HTTP/1.1\r\nHost: x\r\n\r\n")
	for range 2 {
		<-s.entered
	}
	s.dial("127.0.0.4", get)
	s.await("the refusal", func() bool { return s.Refused() == 1 })
	close(s.held)
	for _, c := range []net.Conn{one, two} {
		if code, _ := s.answer(c); code != 200 {
			t.Errorf("a busy connection: %d", code)
		}
	}
}

func TestClientBehindProxies(t *testing.T) {
	s := serve(t, func(c *httpserver.Config) {
		c.Trusted = func(address netip.Addr) bool {
			return address.IsLoopback() && address.String() != "127.0.0.9" || address.IsPrivate()
		}
	})
	for _, c := range []struct{ from, forwarded, want string }{
		{"127.0.0.1", "", "127.0.0.1/32"},
		{"127.0.0.1", "198.51.100.7", "198.51.100.7/32"},
		{"127.0.0.1", "203.0.113.1, 198.51.100.7, 10.0.0.3", "198.51.100.7/32"},
		{"127.0.0.1", "10.0.0.4, 10.0.0.3", "10.0.0.4/32"},
		{"127.0.0.1", "203.0.113.1, what, 10.0.0.3", "10.0.0.3/32"},
		{"127.0.0.1", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"},
		{"127.0.0.1", "203.0.113.1\r\nX-Forwarded-For: 198.51.100.7", "198.51.100.7/32"},
		{"127.0.0.9", "198.51.100.7", "127.0.0.9/32"},
	} {
		code, text := s.answer(s.dial(c.from, get+"X-Forwarded-For: "+c.forwarded+"\r\n\r\n"))
		if code != 200 || text != c.want {
			t.Errorf("%s for %q is %q, want %q", c.from, c.forwarded, text, c.want)
		}
	}
}

// Short header fields take many times their bytes in memory, so their number counts, also where the header never ends.
func TestHeaderFields(t *testing.T) {
	s := serve(t, func(c *httpserver.Config) { c.Limits.HeaderFields = 10 })
	for fields, want := range map[int]int{9: 200, 10: 400, 5000: 400} {
		code, _ := s.answer(s.dial("127.0.0.1", get+strings.Repeat("A:b\r\n", fields)+"\r\n"))
		if code != want {
			t.Errorf("%d fields beside Host: %d, want %d", fields, code, want)
		}
	}
	if code, _ := s.answer(s.dial("127.0.0.1", get+strings.Repeat("A:b\r\n", 1000))); code != 400 {
		t.Errorf("a header without end: %d, want 400", code)
	}
	body := strings.Repeat("\n", 3000)
	c := s.dial("127.0.0.1", fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
	if code, _ := s.answer(c); code != 200 {
		t.Errorf("a body of lines: %d", code)
	}
	if _, err := io.WriteString(c, get+"\r\n"); err != nil {
		t.Fatal(err)
	}
	if code, _ := s.answer(c); code != 200 {
		t.Errorf("a second request: %d", code)
	}
}

// After its context has ended, a server goes on as before for the delay, and has clients leave.
func TestDrainDelay(t *testing.T) {
	s := serve(t, func(c *httpserver.Config) { c.Drain.Delay = time.Hour })
	t.Cleanup(s.Close)
	kept := s.dial("127.0.0.1", get+"\r\n")
	if code, _ := s.answer(kept); code != 200 {
		t.Fatal("it does not serve")
	}
	s.stop()
	s.await("the drain", s.Draining)
	if code, _ := s.answer(s.dial("127.0.0.1", get+"\r\n")); code != 200 {
		t.Errorf("a new connection during the delay: %d", code)
	}
	if _, err := io.WriteString(kept, get+"\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(kept), nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 200 || !resp.Close {
		t.Errorf("a kept connection during the delay: %s, close %t", resp.Status, resp.Close)
	}
	_ = resp.Body.Close()
}

// After the delay the port is closed, and what is under way is finished.
func TestDrainGrace(t *testing.T) {
	s := serve(t, func(*httpserver.Config) {})
	held := s.dial("127.0.0.1", "GET /held HTTP/1.1\r\nHost: x\r\n\r\n")
	<-s.entered
	s.stop()
	s.await("the port to close", func() bool {
		c, err := net.Dial("tcp", s.addr)
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	select {
	case err := <-s.done:
		t.Fatalf("it ended with a request under way: %v", err)
	default:
	}
	close(s.held)
	if code, _ := s.answer(held); code != 200 {
		t.Errorf("the request that was under way: %d", code)
	}
	if err := <-s.done; err != nil {
		t.Error(err)
	}
}
