package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"github.com/nats-io/nats.go"
	"golang.org/x/term"

	"github.com/tributaryhq/tributary"
	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/embedded/dirlock"
	embeddednats "github.com/tributaryhq/tributary/internal/embedded/nats"
	embeddedpostgres "github.com/tributaryhq/tributary/internal/embedded/postgres"
	"github.com/tributaryhq/tributary/internal/outbound"
)

// usualOAuthAddr is the default, which dev serves for this machine alone.
const usualOAuthAddr = ":8082"

// usualPort is where clients look for NATS unless they are told otherwise.
const usualPort = 4222

type devCommand struct {
	DemoIssues int  `help:"Issues in the demo upstream." default:"5000"`
	NoDemo     bool `help:"Start without the demo upstream."`
}

// Run starts everything in one process: Postgres and NATS unless they are given, the demo upstream, all services, and somebody who tells
// what happens.
func (c devCommand) Run(p *program) error {
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(p.streams.Out, format+"\n", args...) }
	told := p.ctx
	err := c.run(p, say)
	if told.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil // it was told to stop while it started
	}
	if err == nil {
		say("stopped; start again to go on from here")
	}
	return err
}

func (c devCommand) run(p *program, say func(string, ...any)) error {
	terminal := isTerminal(p.streams.Out)
	log, err := p.devLogger(terminal)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(p.config.DataDir, 0o755); err != nil {
		return fmt.Errorf("make the data folder (choose another with --data-dir): %w", err)
	}
	ctx, cancel := context.WithCancelCause(p.ctx)
	defer cancel(nil)
	p.ctx = ctx
	p.config.AllowNetworks = append(p.config.AllowNetworks, outbound.LoopbackNetworks)
	database, stopDatabase, err := p.startPostgres(log, cancel, say)
	if err != nil {
		return err
	}
	defer stopDatabase()
	kept := p.config.keptPorts()
	url, stopNATS, err := p.startNATS(kept, log, say)
	if err != nil {
		return err
	}
	defer stopNATS()
	if _, err := p.migrate(ctx, database, log); err != nil {
		return err
	}
	ring, err := p.keyRing(log)
	if err != nil {
		return err
	}
	nc, err := bus.Dial(ctx, url, log, p.natsOptions()...)
	if err != nil {
		return err
	}
	defer nc.Close()
	httpAddr, err := kept.address(ctx, "metrics", p.config.HTTPAddr, ":8080", 8080)
	if err != nil {
		return err
	}
	if httpAddr != "" {
		say("metrics    http://%s/metrics", httpAddr)
	}
	webhookAddr, err := kept.address(ctx, "webhooks", p.config.Webhooks.Addr, ":8090", 8090)
	if err != nil {
		return err
	}
	ingress, err := listenFor(ctx, webhookAddr)
	if err != nil {
		return err
	}
	defer func() { _ = ingress.Close() }()
	demo, err := c.startDemo(ctx, p, ingress, say)
	if err != nil {
		return err
	}
	defer demo.stop()
	if p.config.OAuth.Addr == usualOAuthAddr {
		p.config.OAuth.Addr = "127.0.0.1" + usualOAuthAddr
	}
	parts := parts{nc: nc, database: database, ring: ring, log: log, httpAddr: httpAddr, webhooks: ingress}
	err = p.run(parts, tributary.Services(), func(ctx context.Context) error {
		checkpoints, err := openCheckpoints(ctx, nc, log)
		if err != nil {
			return err
		}
		narrator := &narrator{out: p.streams.Out, terminal: terminal, nc: nc, checkpoints: checkpoints, log: log}
		return narrator.run(ctx, func(ctx context.Context) error { return demo.ensure(ctx, nc, say) })
	})
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// openCheckpoints opens the bucket that the narrator watches.
func openCheckpoints(ctx context.Context, nc *nats.Conn, log *slog.Logger) (*checkpoint.Store, error) {
	b, err := bus.New(nc, bus.Options{Log: log})
	if err != nil {
		return nil, err
	}
	return checkpoint.Open(ctx, b)
}

// inUse says what to do about a data folder that another dev works in.
func (p *program) inUse(err error) error {
	if !errors.Is(err, dirlock.ErrHeld) {
		return err
	}
	return fmt.Errorf("%w: another tributary dev runs with the data folder %q; stop it, or choose another folder with --data-dir", err, p.config.DataDir)
}

// devLogger keeps the log out of the way of the live progress on a terminal: warnings only, unless debugging is asked for.
func (p *program) devLogger(terminal bool) (*slog.Logger, error) {
	if terminal && p.config.LogLevel == "info" {
		p.config.LogLevel = "warn"
	}
	return p.logger()
}

func (p *program) startPostgres(log *slog.Logger, failed context.CancelCauseFunc, say func(string, ...any)) (url string, stop func(), err error) {
	if p.config.DatabaseURL != "" {
		say("postgres   as given by DATABASE_URL")
		return string(p.config.DatabaseURL), func() {}, nil
	}
	if found := embeddedpostgres.Diagnose(p.ctx, nil); found.OK {
		say("postgres   %s", found.Summary)
	}
	server, err := embeddedpostgres.Start(p.ctx, embeddedpostgres.Options{Dir: filepath.Join(p.config.DataDir, "postgres"), Durable: true, Log: log})
	if err != nil {
		return "", nil, p.inUse(err)
	}
	go func() {
		<-server.Done()
		if err := server.Err(); err != nil {
			failed(fmt.Errorf("the embedded PostgreSQL ended: %w", err))
		}
	}()
	return server.URL(), server.Stop, nil
}

func (p *program) startNATS(kept *ports, log *slog.Logger, say func(string, ...any)) (url string, stop func(), err error) {
	if p.config.NATSURL != "" {
		shown, err := bus.Redact(p.config.NATSURL)
		if err != nil {
			return "", nil, err
		}
		say("nats       %s", shown)
		return p.config.NATSURL, func() {}, nil
	}
	port, err := kept.choose(p.ctx, "nats", usualPort)
	if err != nil {
		return "", nil, err
	}
	server, err := embeddednats.Start(embeddednats.Options{
		Dir: filepath.Join(p.config.DataDir, "nats"), Port: port, Log: log, SyncAlways: true,
	})
	if err != nil {
		return "", nil, p.inUse(err)
	}
	if err := p.config.noteNATS(server); err != nil {
		server.Stop()
		return "", nil, err
	}
	say("nats       %s (embedded)", server.URL())
	return server.URL(), func() {
		server.Stop()
		_ = os.Remove(p.config.natsNote())
	}, nil
}

func listenFor(ctx context.Context, addr string) (net.Listener, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for webhooks on %s (choose another with --webhook-addr): %w", addr, err)
	}
	return listener, nil
}

func free(ctx context.Context, port int) bool {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	return listener.Close() == nil
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
