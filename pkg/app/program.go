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
	"slices"
	"time"

	"github.com/alecthomas/kong"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/tributaryhq/tributary"
	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/cli"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/redact"
	"github.com/tributaryhq/tributary/internal/secret"
	"github.com/tributaryhq/tributary/internal/telemetry"
)

// commands is the command line. The operator's commands come from internal/cli.
type commands struct {
	Config `embed:""`

	Dev            devCommand            `cmd:"" help:"Run everything in one process, with a demo if there is nothing else to sync."`
	Scheduler      schedulerCommand      `cmd:"" help:"Run the scheduler: due runs, cursors, commands, the API."`
	Syncer         syncerCommand         `cmd:"" help:"Run a syncer: enumerates due runs."`
	ItemWorker     itemWorkerCommand     `cmd:"" help:"Run an item-worker: handlers and records."`
	WebhookIngress ingressCommand        `cmd:"" help:"Take webhooks in; needs NATS and the key ring, and no database."`
	TokenRefresher tokenRefresherCommand `cmd:"" help:"Run a token-refresher: OAuth tokens, and the rotation of keys."`
	Migrate        migrateCommand        `cmd:"" help:"Bring the database up to date."`
	Doctor         doctorCommand         `cmd:"" help:"Say what is missing here and how to get it."`
	Version        versionCommand        `cmd:"" help:"Say which version this is."`

	cli.Commands `embed:""`
}

// program is one run of the binary.
type program struct {
	ctx       context.Context
	streams   Streams
	config    Config
	providers Providers
	options   []tributary.Option
	kms       KMS
}

func (p *program) runCommand(parsed *kong.Context) error {
	return parsed.Run(p, p.cliEnv())
}

type (
	schedulerCommand      struct{}
	syncerCommand         struct{}
	itemWorkerCommand     struct{}
	tokenRefresherCommand struct{}
	ingressCommand        struct{}
)

type migrateCommand struct {
	Wait time.Duration `help:"How long to wait for Postgres to answer." default:"5m"`
}

func (schedulerCommand) Run(p *program) error  { return p.serve(tributary.Scheduler) }
func (syncerCommand) Run(p *program) error     { return p.serve(tributary.Syncer) }
func (itemWorkerCommand) Run(p *program) error { return p.serve(tributary.ItemWorker) }

func (tokenRefresherCommand) Run(p *program) error { return p.serve(tributary.TokenRefresher) }

// Run serves without a database, also when one is configured: an outage of it is not to be noticed.
func (ingressCommand) Run(p *program) error {
	p.config.DatabaseURL = ""
	return p.serve(tributary.WebhookIngress)
}

func (c migrateCommand) Run(p *program) error {
	if p.config.DatabaseURL == "" {
		return errNoDatabase
	}
	log, err := p.logger()
	if err != nil {
		return err
	}
	ready, cancel := context.WithTimeoutCause(p.ctx, c.Wait, fmt.Errorf("no answer from Postgres within %s", c.Wait))
	defer cancel()
	applied, err := p.migrate(ready, string(p.config.DatabaseURL), log)
	if err != nil {
		if ready.Err() != nil && errors.Is(err, context.DeadlineExceeded) {
			return context.Cause(ready)
		}
		return err
	}
	_, _ = fmt.Fprintf(p.streams.Out, "%d migrations applied, the database is up to date\n", applied)
	return nil
}

var errNoDatabase = errors.New(
	"no database: set DATABASE_URL, such as postgres://user:password@localhost:5432/tributary, or give " +
		"--database-url where it needs no password; " +
		"or run everything on this machine with: tributary dev")

// unlessStopped is nil for what comes of a stop that was asked for, also when something was still starting or waiting
// for a server.
func (p *program) unlessStopped(err error) error {
	if p.ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// serve runs one service against external NATS and Postgres.
func (p *program) serve(service string) (err error) {
	defer func() { err = p.unlessStopped(err) }()
	if p.config.DatabaseURL == "" && service != tributary.WebhookIngress {
		return errNoDatabase
	}
	url, err := p.natsURL()
	if err != nil {
		return err
	}
	log, err := p.logger()
	if err != nil {
		return err
	}
	ring, err := p.keyRing(log)
	if err != nil {
		return err
	}
	nc, err := bus.Dial(p.ctx, url, log, p.natsOptions()...)
	if err != nil {
		return err
	}
	defer nc.Close()
	parts := parts{nc: nc, database: string(p.config.DatabaseURL), ring: ring, log: log, httpAddr: p.config.HTTPAddr}
	return p.run(parts, []string{service}, nil)
}

// parts are what a process stands on.
type parts struct {
	nc       *nats.Conn
	database string
	ring     *secret.Ring
	log      *slog.Logger
	httpAddr string
	// webhooks is where webhooks come in, if not where the configuration says.
	webhooks net.Listener
}

// run runs services until the context ends; beside, when given, runs along with them once they have started.
func (p *program) run(parts parts, services []string, beside func(context.Context) error) error {
	log := parts.log
	platform.TuneGC(os.Getenv)
	tracers, flush, err := telemetry.NewTracers(p.ctx, p.config.OTLPEndpoint, "tributary")
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_ = flush(ctx)
	}()
	registry := telemetry.NewRegistry()
	config := tributary.Config{
		NATS: parts.nc, Keys: parts.ring, Providers: p.providers, Services: services, Logger: log, Registerer: registry,
		TracerProvider: tracers,
	}
	if config.Settings, err = p.config.settings(); err != nil {
		return err
	}
	config.Webhooks.Listener = parts.webhooks
	if config.PostgresDirect, err = p.config.direct(); err != nil {
		return err
	}
	if parts.database != "" {
		if config.Postgres, _, err = p.connectPostgres(p.ctx, parts.database, log, tracers); err != nil {
			return err
		}
		defer config.Postgres.Close()
	}
	runtime, err := tributary.New(config, append(p.options, tributary.Tuned(p.tuneFor(services)))...)
	if err != nil {
		return err
	}
	return p.unlessStopped(p.runBeside(runtime, registry, parts, beside))
}

// runBeside runs the services, and beside them what serves health and metrics. These are served until all services have
// ended, so that load balancers see them drain.
func (p *program) runBeside(runtime *tributary.Runtime, registry *prometheus.Registry, parts parts,
	beside func(context.Context) error,
) error {
	group, ctx := errgroup.WithContext(p.ctx)
	ended, end := context.WithCancel(context.WithoutCancel(ctx))
	group.Go(func() error {
		defer end()
		return runtime.Run(ctx)
	})
	once := func(ctx context.Context, run func(context.Context) error) {
		group.Go(func() error {
			select {
			case <-runtime.Started():
				return run(ctx)
			case <-ended.Done():
				return nil
			}
		})
	}
	once(ended, func(ctx context.Context) error {
		return telemetry.Serve(ctx, parts.httpAddr, registry, func() []telemetry.Check {
			return shown(runtime)
		}, parts.log)
	})
	if beside != nil {
		once(ctx, beside)
	}
	return group.Wait()
}

// tuneFor sets what depends on the process's environment.
func (p *program) tuneFor(services []string) func(*platform.Config) {
	return func(config *platform.Config) {
		config.Crash = crashPoints(os.Getenv("TRIBUTARY_CRASH_AT"), killSelf)
		tune(config, os.Getenv)
		if slices.Equal(services, []string{tributary.WebhookIngress}) {
			platform.LimitMemory(os.Getenv, config.Ingress.Memory())
		}
	}
}

// shown is the process's readiness as strangers see it.
func shown(runtime *tributary.Runtime) []telemetry.Check {
	var checks []telemetry.Check
	for _, check := range runtime.Readiness() {
		checks = append(checks, telemetry.Check{Name: check.Name, OK: check.Err == nil})
	}
	return checks
}

func (p *program) keyRing(log *slog.Logger) (*secret.Ring, error) {
	switch {
	case p.config.Keys != "":
		return secret.ParseWrapped(p.ctx, string(p.config.Keys), p.kms)
	case p.config.KeysFile != "":
		return secret.Load(p.ctx, p.config.KeysFile, p.kms, log)
	}
	return secret.LoadOrCreate(p.ownKeys(), log)
}

// ownKeys is the file of the key ring that a start makes where none is given.
func (p *program) ownKeys() string { return filepath.Join(p.config.DataDir, "keys") }

func (p *program) logger() (*slog.Logger, error) { return p.loggerTo(p.streams.Err) }

func (p *program) loggerTo(w io.Writer) (*slog.Logger, error) {
	log, err := telemetry.NewLogger(w, p.config.LogFormat, p.config.LogLevel)
	if err != nil {
		return nil, err
	}
	// Errors quote URLs, and URLs may hold tokens.
	var redactor *redact.Redactor
	return redactor.Logger(log), nil
}

func (p *program) natsOptions() []nats.Option {
	if p.config.NATSCreds == "" {
		return nil
	}
	return []nats.Option{nats.UserCredentials(p.config.NATSCreds)}
}
