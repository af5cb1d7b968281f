// Package tributary runs Tributary's services inside of a program of yours, on its Postgres pool, its NATS connection,
// its logger, its metrics and its tracer.
//
//	runtime, err := tributary.New(tributary.Config{
//		Postgres: pool, NATS: nc, Keys: keys, Providers: tributary.Providers{"acme": acme.Provider{}},
//		Services: []string{tributary.Scheduler, tributary.Syncer, tributary.ItemWorker},
//	}, tributary.OnItem(book))
//	if err != nil {
//		return err
//	}
//	return runtime.Run(ctx)
//
// The package reads no flags and no environment, handles no signals, and keeps no state outside of a [Runtime]. It
// closes only what it has opened. A program that wants flags, commands and servers of its own as well is made by
// package app, which is built on this one.
package tributary

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// The services. Any number of processes may run each of them; a product needs the first three somewhere.
const (
	// Scheduler opens and closes runs, moves cursors, and answers the command line.
	Scheduler = platform.SchedulerService
	// Syncer enumerates what providers have.
	Syncer = platform.SyncerService
	// ItemWorker calls handlers.
	ItemWorker = platform.ItemWorkerService
	// WebhookIngress takes webhooks in. A process that runs it alone needs no Postgres.
	WebhookIngress = platform.IngressService
	// TokenRefresher keeps OAuth tokens fresh, and rotates keys.
	TokenRefresher = platform.TokenRefresherService
)

// Services lists all services.
func Services() []string { return platform.Services() }

// Providers are found by key: a short lower-case name that stands in subjects, URLs and tables, and never changes.
type Providers map[string]contracts.Provider

// Config is what a runtime is given by its program. The fields up to Services are needed; the others have defaults.
type Config struct {
	// Postgres is the program's pool, of a configuration that [PreparePool] has prepared. Two of its connections are
	// kept to listen for notifications, and no longer count as the pool's. It may be nil where [WebhookIngress] is the
	// only service.
	Postgres *pgxpool.Pool
	// NATS is the program's connection, made with [NATSOptions].
	NATS *nats.Conn
	// Keys encrypt credentials: see [ParseKeys] and [LoadKeys]. All processes need the same.
	Keys *Keys
	// Providers are those whose work this program takes. A scheduler without any answers the command line.
	Providers Providers
	// Services are those that the program runs.
	Services []string

	// PostgresDirect leads to Postgres itself where a pooler such as PgBouncer is behind Postgres: notifications do not
	// come through poolers. Without it, changes are looked for every second there.
	PostgresDirect *pgx.ConnConfig
	// Logger is what services log to; nil means [slog.Default].
	Logger *slog.Logger
	// Registerer takes the metrics while the runtime runs; nil means that they are not shown.
	Registerer prometheus.Registerer
	// TracerProvider makes the spans; nil makes none.
	TracerProvider trace.TracerProvider

	Settings
}

// Runtime is services that run in this process: see [New].
type Runtime struct {
	config  Config
	options options
	ran     atomic.Bool
	started chan struct{}
	running atomic.Pointer[running]
}

// New checks a configuration, and opens nothing. Its errors say which field to set, and to what.
func New(config Config, opts ...Option) (*Runtime, error) {
	if err := config.check(); err != nil {
		return nil, err
	}
	r := &Runtime{config: config, options: newOptions(opts), started: make(chan struct{})}
	if r.config.Logger == nil {
		r.config.Logger = slog.Default()
	}
	return r, nil
}

// check looks for what is missing or can't be.
func (c *Config) check() error {
	switch {
	case len(c.Services) == 0:
		return missing("Services", "name what to run, such as tributary.Services()")
	case c.NATS == nil:
		return missing("NATS", "connect with nats.Connect(url, tributary.NATSOptions(logger)...)")
	case c.Postgres == nil && !c.ingressOnly():
		return missing("Postgres", "pass a pool of a configuration that tributary.PreparePool has prepared")
	case c.Keys == nil:
		return missing("Keys", "read them with tributary.ParseKeys or tributary.LoadKeys; make a key with: openssl "+
			"rand -base64 32")
	case c.Providers == nil:
		return missing("Providers",
			`pass those that the program has, such as tributary.Providers{"acme": acme.Provider{}}, or an empty map`)
	}
	for _, service := range c.Services {
		if !slices.Contains(Services(), service) {
			return fmt.Errorf("tributary.Config.Services has %q, it may have: %s", service,
				strings.Join(Services(), ", "))
		}
	}
	return c.Settings.check(c.Services)
}

// missing is the error for a field that is not set, with what to do.
func missing(field, advice string) error {
	return fmt.Errorf("tributary.Config.%s is missing: %s", field, advice)
}

func (c *Config) ingressOnly() bool {
	return !slices.ContainsFunc(c.Services, func(service string) bool { return service != WebhookIngress })
}

// errRanBefore means that Run was called a second time.
var errRanBefore = errors.New("this runtime has run: make another one with tributary.New")

// Run runs the services until ctx ends, and returns nil when all have stopped. The first that fails ends the others,
// and Run returns its error. A runtime runs once.
//
// Run waits for Postgres and NATS to answer, and refuses connections whose settings services can't work with, and a
// database that lacks migrations.
//
// When ctx ends, services take no new work. Handlers, requests and enumerations that are under way have some 20 seconds
// to end, and what they have done is written down; what has not ended by then is handed to other processes, and done
// again. Metrics are unregistered. The pool and the connection to NATS stay open.
func (r *Runtime) Run(ctx context.Context) (err error) {
	if r.ran.Swap(true) {
		return errRanBefore
	}
	defer func() {
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			err = nil
		}
	}()
	metrics := &borrowed{Registerer: r.config.Registerer}
	defer metrics.giveBack()
	config, err := r.platform(ctx, metrics)
	if err != nil {
		return err
	}
	built, err := platform.New(ctx, config)
	if err != nil {
		return err
	}
	defer built.Bus.Close()
	r.running.Store(&running{built, ctx.Err})
	close(r.started)
	r.config.Logger.Info("running", "services", r.config.Services, "providers", built.Registry.Keys())
	err = built.Run(ctx, r.config.Services...)
	r.config.Logger.Info("stopped")
	return err
}

// platform checks the connections, and is what the services are built of.
func (r *Runtime) platform(ctx context.Context, metrics prometheus.Registerer) (platform.Config, error) {
	c := r.config
	config := platform.Defaults()
	if err := bus.CheckConn(c.NATS); err != nil {
		return config, fmt.Errorf("%w: connect with tributary.NATSOptions(logger, your options...)", err)
	}
	if !c.ingressOnly() {
		pooled, err := checkPool(ctx, c.Postgres, c.Logger)
		if err != nil {
			return config, err
		}
		if err := checkMigrations(ctx, c.Postgres, c.Logger); err != nil {
			return config, err
		}
		config.Pool, config.Listening = c.Postgres, c.listening(pooled)
		// Closings that wait for a lock leave connections to others.
		config.Scheduler.Closers = min(config.Scheduler.Closers, int(c.Postgres.Config().MaxConns)/2)
	}
	config.NATS, config.Ring, config.Providers, config.Handlers = c.NATS, c.Keys, c.Providers, r.options.itemHandlers()
	config.AroundWebhook = r.options.aroundWebhook
	config.Log, config.Metrics = c.Logger, metrics
	if c.TracerProvider != nil {
		config.Tracers = c.TracerProvider
	}
	if err := c.Settings.apply(&config); err != nil {
		return config, err
	}
	for _, tune := range r.options.tunes {
		tune(&config)
	}
	return config, nil
}

// listening is how services hear of notifications, which do not come through a pooler.
func (c *Config) listening(pooled bool) postgres.Listening {
	if pooled && c.PostgresDirect == nil {
		c.Logger.Warn("a connection pooler is between this process and Postgres, through which no notifications " +
			"come: changes are " +
			"looked for every second instead; set TRIBUTARY_DATABASE_DIRECT_URL or Config.PostgresDirect to an " +
			"address of Postgres itself")
	}
	return postgres.Listening{Direct: c.PostgresDirect, Poll: pooled && c.PostgresDirect == nil}
}

// Started is closed once the connections are checked and the services start.
func (r *Runtime) Started() <-chan struct{} { return r.started }
