// Package natsserver runs a nats-server with JetStream inside this process: for `tributary dev`, where everything lives in one folder,
// and for tests, through package natstest.
package natsserver

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/tributaryhq/tributary/internal/embedded/dirlock"
)

// readyWithin is far above the few milliseconds a start takes: recovering large streams from a cold disk is what needs it.
const readyWithin = time.Minute

// maxPayload is twice the usual: the body of a webhook may have a whole MiB, and its headers come with it.
const maxPayload = 2 << 20

// RandomPort as Options.Port asks for any free port.
const RandomPort = -1

// Options say where the server keeps its streams and how it can be reached.
type Options struct {
	// Dir is the folder of the streams. One server at a time may use it.
	Dir string
	// Port on 127.0.0.1 to listen on; [RandomPort] for a free one, 0 for none: then only Connect reaches the server.
	Port int
	// Log receives the server's warnings and errors, and its notices at debug level. Nil discards them.
	Log *slog.Logger
	// SyncAlways makes the server fsync before it acknowledges, so that an acknowledged message survives a power cut. Without it a
	// message survives the death of the process only.
	SyncAlways bool
	// TLS has the server demand TLS of its clients; nil for none.
	TLS *tls.Config
	// Cluster has the server join others; nil for a server alone. A cluster is for tests.
	Cluster *Cluster
}

// Cluster says where a server of a cluster takes the connections of the others, all on 127.0.0.1.
type Cluster struct {
	// Name tells the server from the others.
	Name string
	Port int
	// Routes are the ports of all servers, its own among them: without it JetStream would not cluster.
	Routes []int
}

// Server is a running server. It stays up until Stop.
type Server struct {
	server *server.Server
	opts   *server.Options
	lock   *dirlock.Lock
	stop   func()
}

// Start starts a server and returns once it accepts connections and its streams are recovered. A folder in use fails with
// [dirlock.ErrHeld]; a taken port fails with the operating system's reason.
func Start(opts Options) (*Server, error) {
	lock, err := dirlock.Acquire(filepath.Join(opts.Dir, "owner.lock"))
	if err != nil {
		return nil, fmt.Errorf("start the embedded nats-server: %w", err)
	}
	s := &Server{lock: lock}
	s.stop = sync.OnceFunc(s.shutdown)
	if err := s.start(opts); err != nil {
		s.stop()
		return nil, fmt.Errorf("start the embedded nats-server: %w", err)
	}
	return s, nil
}

func (s *Server) start(opts Options) (err error) {
	s.opts = &server.Options{
		ServerName: "tributary-embedded",
		JetStream:  true,
		StoreDir:   opts.Dir,
		SyncAlways: opts.SyncAlways,
		Host:       "127.0.0.1",
		Port:       opts.Port,
		DontListen: opts.Port == 0,
		MaxPayload: maxPayload,
		NoSigs:     true, // signals are the program's to handle
	}
	if opts.TLS != nil {
		s.opts.TLS, s.opts.TLSConfig, s.opts.TLSTimeout = true, opts.TLS, readyWithin.Seconds()
	}
	if c := opts.Cluster; c != nil {
		s.opts.ServerName, s.opts.Cluster = c.Name, server.ClusterOpts{Name: "tributary", Host: "127.0.0.1", Port: c.Port}
		for _, port := range c.Routes {
			s.opts.Routes = append(s.opts.Routes, &url.URL{Scheme: "nats", Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(port))})
		}
	}
	s.server, err = server.NewServer(s.opts)
	if err != nil {
		return err
	}
	logger := newLogger(opts.Log)
	s.server.SetLoggerV2(logger, false, false, false)
	s.server.Start()
	for deadline := time.Now().Add(readyWithin); time.Now().Before(deadline); {
		ready := s.server.ReadyForConnections(100 * time.Millisecond)
		if err := logger.fatalError(); err != nil {
			return err
		}
		if ready {
			return nil
		}
	}
	return fmt.Errorf("not ready within %s", readyWithin)
}

// ID tells this server from any other. It is new with every start.
func (s *Server) ID() string { return s.server.ID() }

// URL is the address other processes reach the server at; empty when it does not listen.
func (s *Server) URL() string {
	addr, listening := s.server.Addr().(*net.TCPAddr)
	if !listening {
		return ""
	}
	return "nats://" + addr.String()
}

// Connect connects without a socket, whether the server listens or not. The caller closes the connection, before Stop.
func (s *Server) Connect(opts ...nats.Option) (*nats.Conn, error) {
	conn, err := nats.Connect("", append([]nats.Option{nats.InProcessServer(s.server)}, opts...)...)
	if err != nil {
		return nil, fmt.Errorf("connect to the embedded nats-server: %w", err)
	}
	return conn, nil
}

// InProcessConn makes one socketless connection, as [nats.InProcessServer] wants it.
func (s *Server) InProcessConn() (net.Conn, error) {
	if !s.server.Running() {
		return nil, errors.New("the embedded nats-server is stopped")
	}
	return s.server.InProcessConn()
}

// SetMaxPayload changes how large messages may be, as a reload of the configuration does. Connections stay, and their clients learn of it when they connect again.
func (s *Server) SetMaxPayload(bytes int32) error {
	opts := s.opts.Clone()
	opts.MaxPayload = bytes
	if err := s.server.ReloadOptions(opts); err != nil {
		return fmt.Errorf("reload the embedded nats-server: %w", err)
	}
	s.opts = opts
	return nil
}

// Stop writes everything to disk, ends the server and frees its folder. It returns when that is done; further calls do nothing.
func (s *Server) Stop() { s.stop() }

func (s *Server) shutdown() {
	if s.server != nil {
		s.server.Shutdown()
		s.server.WaitForShutdown()
	}
	_ = s.lock.Release()
}
