// Package natstest gives a test a real nats-server with JetStream of its own, in this process.
package natstest

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/nats-io/nats-server/v2/server/ats"
	"github.com/nats-io/nats.go"

	natsserver "github.com/tributaryhq/tributary/internal/embedded/nats"
)

// Server is a server that lives as long as its test. It can be stopped and started again on the same data and port, to test an outage.
type Server struct {
	t    testing.TB
	opts natsserver.Options

	mu      sync.Mutex
	current *natsserver.Server // nil while stopped
}

// New starts a server that only Connect reaches: no port, the streams in the test's temporary folder, gone when the test ends.
func New(t testing.TB) *Server {
	t.Helper()
	return start(t, 0)
}

// NewListening starts a server on a free port of 127.0.0.1 too, for tests that run other processes.
func NewListening(t testing.TB) *Server {
	t.Helper()
	return start(t, FreePort(t))
}

// NewTLS is NewListening with TLS. The server's certificate is for localhost, and its URL has that name; roots check it.
func NewTLS(t testing.TB) (server *Server, roots *x509.CertPool) {
	t.Helper()
	certificate, roots := certify(t)
	s := &Server{t: t, opts: natsserver.Options{Dir: t.TempDir(), Port: FreePort(t), TLS: &tls.Config{Certificates: []tls.Certificate{certificate}}}}
	s.Start()
	t.Cleanup(s.Stop)
	return s, roots
}

// Bubble runs f under [synctest.Test], with servers and clients inside keeping to the bubble's fake time: ack waits, back-offs,
// expiries and schedules of hours pass in milliseconds and come at the exact time. The server and everything that talks to it must
// be made inside f.
//
// Two things of the process reach into a bubble. The server has a ticker that would start inside, wait on a channel from outside and so
// stop the clock: Bubble starts it outside first. And nats.go keeps used timers in a pool, where a timer from inside a bubble is fatal
// outside: Bubble empties the pool on the way in and out, and refuses a parallel test, which could draw from it meanwhile.
func Bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	t.Setenv("NATSTEST_BUBBLE", t.Name()) // panics in a parallel test
	ats.Register()
	defer ats.Unregister()
	emptyPools()
	defer emptyPools()
	synctest.Test(t, f)
}

// emptyPools drops what every [sync.Pool] holds: one collection retires it, the next one frees it.
func emptyPools() {
	runtime.GC()
	runtime.GC()
}

func start(t testing.TB, port int) *Server {
	t.Helper()
	s := &Server{t: t, opts: natsserver.Options{Dir: t.TempDir(), Port: port}}
	s.Start()
	t.Cleanup(s.Stop)
	return s
}

// URL is the address for other processes; empty for a server made by New.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opts.Port <= 0 {
		return ""
	}
	if s.opts.TLS != nil {
		return "tls://" + net.JoinHostPort("localhost", strconv.Itoa(s.opts.Port))
	}
	return "nats://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(s.opts.Port))
}

// Connect makes a socketless connection, closed when the test ends. It finds the server again after a Restart, as a client over the
// network would.
func (s *Server) Connect(opts ...nats.Option) *nats.Conn {
	s.t.Helper()
	conn, err := nats.Connect("", append([]nats.Option{nats.InProcessServer(s)}, opts...)...)
	if err != nil {
		s.t.Fatalf("connect to the test's nats-server: %v", err)
	}
	s.t.Cleanup(conn.Close)
	return conn
}

// InProcessConn makes one raw connection to whichever server runs now.
func (s *Server) InProcessConn() (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil {
		return nil, errors.New("the test's nats-server is stopped")
	}
	return s.current.InProcessConn()
}

// Stop ends the server and keeps its data. Stopping a stopped server does nothing.
func (s *Server) Stop() {
	if running := s.swap(nil); running != nil {
		running.Stop()
	}
}

// Start starts a stopped server on the data and the port it had.
func (s *Server) Start() {
	s.t.Helper()
	started, err := natsserver.Start(s.opts)
	if err != nil {
		s.t.Fatal(err)
	}
	s.swap(started)
}

// swap keeps the lock away from starting and stopping: a client that waits for it while it looks for the server again would hold up
// the clock of a bubble.
func (s *Server) swap(next *natsserver.Server) (previous *natsserver.Server) {
	s.mu.Lock()
	defer s.mu.Unlock()
	previous, s.current = s.current, next
	return previous
}

// Restart is Stop and Start: connections break and come back, what was stored stays.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	s.Start()
}

// SetMaxPayload has the server reload its configuration with another limit of a message's size.
func (s *Server) SetMaxPayload(bytes int32) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.current.SetMaxPayload(bytes); err != nil {
		s.t.Fatal(err)
	}
}

// Dir is the folder of the server's streams, to damage while it is stopped.
func (s *Server) Dir() string { return s.opts.Dir }

// Snapshot restarts the server and copies its streams meanwhile. putBack has it come back with them, as after a restore from a backup: connections break, and what was
// stored since the snapshot is gone.
func (s *Server) Snapshot() (putBack func()) {
	s.t.Helper()
	streams, kept := filepath.Join(s.opts.Dir, "jetstream"), filepath.Join(s.t.TempDir(), "jetstream")
	s.Stop()
	if err := os.CopyFS(kept, os.DirFS(streams)); err != nil {
		s.t.Fatal(err)
	}
	s.Start()
	return func() {
		s.t.Helper()
		s.Stop()
		if err := os.RemoveAll(streams); err != nil {
			s.t.Fatal(err)
		}
		if err := os.CopyFS(streams, os.DirFS(kept)); err != nil {
			s.t.Fatal(err)
		}
		s.Start()
	}
}
