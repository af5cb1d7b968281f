// Package httpserver serves HTTP to clients that may be slow, greedy or hostile. It bounds connections, headers and waits, divides what it has
// among client addresses, and drains: once its context ends it keeps serving until others have noticed that the process is not ready.
package httpserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"
)

// Limits are what clients may take of a server.
type Limits struct {
	// Connections is how many may be open, idle ones included.
	Connections int
	// HeaderBytes is how many bytes the headers of a request may have, HeaderFields how many fields.
	HeaderBytes, HeaderFields int
	// Header is how long the headers may take to arrive, Request the whole request, Answer the answer from the end of the headers on.
	Header, Request, Answer time.Duration
	// Idle is how long a connection may have no request: longer than the minute for which load balancers keep theirs.
	Idle time.Duration
}

// DefaultLimits are for requests that are small and answered soon.
func DefaultLimits() Limits {
	return Limits{
		Connections: 256, HeaderBytes: 16 << 10, HeaderFields: 100,
		Header: 5 * time.Second, Request: 10 * time.Second, Answer: time.Minute, Idle: 75 * time.Second,
	}
}

// Drain is how a server stops.
type Drain struct {
	// Delay is how long it goes on as before, while load balancers learn from the readiness check that the process leaves.
	Delay time.Duration
	// Grace is how long requests that are under way may take after that, when the port is closed.
	Grace time.Duration
}

// Config is what a server is made of.
type Config struct {
	// Name is what is served, as errors and logs call it.
	Name    string
	Handler http.Handler
	Limits  Limits
	Drain   Drain
	// Trusted reports whether an address is that of a proxy whose X-Forwarded-For counts. Nil trusts none.
	Trusted func(netip.Addr) bool
	Log     *slog.Logger
}

// Server serves one handler.
type Server struct {
	config   Config
	conns    *conns
	http     *http.Server
	draining atomic.Bool
}

// New returns a server. [Server.Serve] starts it.
func New(config Config) *Server {
	s := &Server{config: config}
	s.conns = newConns(config.Limits, s.trusts)
	limits := config.Limits
	s.http = &http.Server{
		Handler: http.HandlerFunc(s.handle), MaxHeaderBytes: limits.HeaderBytes,
		ReadHeaderTimeout: limits.Header, ReadTimeout: limits.Request, WriteTimeout: limits.Answer, IdleTimeout: limits.Idle,
		ErrorLog: slog.NewLogLogger(config.Log.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		},
	}
	return s
}

// Serve serves until ctx ends, and then drains. It returns when the last request was answered, or cut off at the end of the grace.
func (s *Server) Serve(ctx context.Context, on net.Listener) error {
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(&listener{Listener: on, conns: s.conns}) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve %s: %w", s.config.Name, err)
	case <-ctx.Done():
	}
	s.draining.Store(true)
	after := time.NewTimer(s.config.Drain.Delay)
	defer after.Stop()
	select {
	case err := <-served:
		return fmt.Errorf("serve %s: %w", s.config.Name, err)
	case <-after.C:
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.config.Drain.Grace)
	defer cancel()
	if err := s.http.Shutdown(closing); err != nil {
		s.config.Log.Warn("requests under way were cut off without an answer", "serving", s.config.Name, "error", err)
		_ = s.http.Close()
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", s.config.Name, err)
	}
	return nil
}

// handle has the connection wait again after the answer.
func (s *Server) handle(w http.ResponseWriter, r *http.Request) {
	c, ok := r.Context().Value(connKey{}).(*conn)
	if !ok {
		http.Error(w, "no connection", http.StatusInternalServerError)
		return
	}
	c.request.Store(inBody)
	defer func() {
		c.wait()
		c.request.Store(betweenRequests)
	}()
	if s.draining.Load() {
		// The next request is for a process that stays.
		w.Header().Set("Connection", "close")
	}
	if r.Body == http.NoBody {
		c.busy()
	}
	s.config.Handler.ServeHTTP(w, r)
}
