package pgserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	superuser = "tributary"
	database  = "tributary"
)

var errPortTaken = errors.New("the port was taken")

// settings are given on the command line, so that nothing of one run stays in the data folder for the next.
func settings(port int, durable bool) []string {
	values := []string{
		"listen_addresses=127.0.0.1",
		"port=" + strconv.Itoa(port),
		"unix_socket_directories=", // a default of the distribution may refuse other users
		"max_connections=1000",
		"timezone=UTC",
		"log_timezone=UTC",
		"logging_collector=off",
		"log_destination=stderr",
		"log_line_prefix=",
		"jit=off", // costs short queries more than it gains
	}
	if !durable {
		values = append(values, "fsync=off", "full_page_writes=off", "synchronous_commit=off", "autovacuum=off",
			"wal_level=minimal", "max_wal_senders=0", "max_wal_size=256MB", "min_wal_size=32MB")
	}
	args := make([]string, 0, 2*len(values))
	for _, value := range values {
		args = append(args, "-c", value)
	}
	return args
}

// launch starts the server on a free port and waits until it takes connections.
func launch(ctx context.Context, opts Options, installation Installation, at place, password string) (*Server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s := newServer(installation, at)
	s.lines = newLineLog(opts.Log)
	// Not CommandContext: the context bounds the start only. And not pg_ctl: it would put the server out of our sight.
	s.command = exec.Command(filepath.Join(installation.BinDir, "postgres"), append([]string{"-D", at.data()}, settings(port, opts.Durable)...)...) //nolint:noctx // see above
	prepare(s.command, at)
	s.command.Stdout, s.command.Stderr = s.lines, s.lines
	s.url = (&url.URL{
		Scheme: "postgres", User: url.UserPassword(superuser, password),
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), Path: database, RawQuery: "sslmode=disable",
	}).String()
	if err := startWatched(s.command, s.ended); err != nil {
		return nil, explainExec(err)
	}
	if err := s.awaitReady(ctx, at.data()); err != nil {
		s.command.Process.Kill() //nolint:errcheck // it may be gone already
		<-s.done
		return nil, err
	}
	return s, nil
}

// awaitReady polls the server's pid file, whose last line says when it takes connections: no driver and no log parsing needed.
func (s *Server) awaitReady(ctx context.Context, data string) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if file, err := readPidFile(data); err == nil && file.pid == s.command.Process.Pid && file.ready {
			return nil
		}
		select {
		case <-s.done:
			if strings.Contains(s.lines.tail(), "Address already in use") {
				return fmt.Errorf("%w: %s", errPortTaken, s.lines.tail())
			}
			return fmt.Errorf("it ended: %s", s.lines.tail())
		case <-ctx.Done():
			return fmt.Errorf("it was not ready in time (%w): %s", ctx.Err(), s.lines.tail())
		case <-tick.C:
		}
	}
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // does not wait
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port, nil
}
