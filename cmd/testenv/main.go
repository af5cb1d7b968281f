// Command testenv runs a command with a Postgres for tests:
//
//	testenv go test ./...
//
// It starts the server once for all test processes of the command and names it in DATABASE_URL, or uses the one that DATABASE_URL
// names already. It passes on signals and the exit code. Tests work without it too, each package then starting a server of its own.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	pgserver "github.com/tributaryhq/tributary/internal/embedded/postgres"
)

func main() {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	args := os.Args[1:]
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "usage: testenv [--] command [arguments]")
		os.Exit(2)
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP)
	code, err := run(log, signals, args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testenv:", err)
	}
	os.Exit(code)
}

func run(log *slog.Logger, signals <-chan os.Signal, args []string) (int, error) {
	environment := os.Environ()
	var died <-chan struct{}
	if given := os.Getenv("DATABASE_URL"); given != "" {
		fmt.Fprintln(os.Stderr, "testenv: using the Postgres that DATABASE_URL names:", hostOf(given))
	} else {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		server, err := start(ctx, cancel, log, signals)
		if err != nil {
			return 1, err
		}
		defer server.Stop()
		died = server.Done()
		fmt.Fprintf(os.Stderr, "testenv: started PostgreSQL %s, %s\n", server.Installation().Version, server.Installation().Source)
		environment = append(environment, "DATABASE_URL="+server.URL(), "DATABASE_EPHEMERAL=1")
	}
	return execute(args, environment, signals, died)
}

// start gives up when a signal comes while PostgreSQL is still being fetched or started.
func start(ctx context.Context, cancel context.CancelFunc, log *slog.Logger, signals <-chan os.Signal) (*pgserver.Server, error) {
	type result struct {
		server *pgserver.Server
		err    error
	}
	started := make(chan result, 1)
	go func() {
		server, err := pgserver.Start(ctx, pgserver.Options{Log: log})
		started <- result{server, err}
	}()
	select {
	case r := <-started:
		return r.server, r.err
	case got := <-signals:
		cancel()
		if r := <-started; r.server != nil {
			r.server.Stop()
		}
		return nil, fmt.Errorf("%s while starting PostgreSQL", got)
	}
}

// execute runs the command to its end. The command shares our process group, so an interrupt from the terminal reaches it without us;
// one sent to us alone is passed on, which does no harm twice.
func execute(args, environment []string, signals <-chan os.Signal, died <-chan struct{}) (int, error) {
	command := exec.Command(args[0], args[1:]...) //nolint:gosec,noctx // to run it is what we are for, and signals end it
	command.Env = environment
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := command.Start(); err != nil {
		return 127, err
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	for {
		select {
		case got := <-signals:
			_ = command.Process.Signal(got) // it may have ended
		case <-died:
			fmt.Fprintln(os.Stderr, "testenv: PostgreSQL ended while the command was running")
			died = nil
		case err := <-ended:
			return exitCode(command, err)
		}
	}
}

func exitCode(command *exec.Cmd, err error) (int, error) {
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 1, err
	}
	if status, ok := command.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return command.ProcessState.ExitCode(), nil
}

// hostOf leaves out the password.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "(an address in another form)"
	}
	return cmp.Or(u.Host, "(its default host)") + u.Path
}
