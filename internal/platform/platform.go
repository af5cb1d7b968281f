// Package platform puts one process's parts together: it is given connections, providers and settings, and runs the
// services that are asked for. The root package builds a process on it, and so do tests and benchmarks.
package platform

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"golang.org/x/sync/errgroup"

	"github.com/tributaryhq/tributary/internal/budget"
	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/cells"
	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/circuit"
	"github.com/tributaryhq/tributary/internal/control"
	"github.com/tributaryhq/tributary/internal/delivery"
	"github.com/tributaryhq/tributary/internal/directory"
	"github.com/tributaryhq/tributary/internal/health"
	"github.com/tributaryhq/tributary/internal/idempotency"
	"github.com/tributaryhq/tributary/internal/integrations"
	"github.com/tributaryhq/tributary/internal/outbound"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/readiness"
	"github.com/tributaryhq/tributary/internal/registry"
	"github.com/tributaryhq/tributary/internal/requestlog"
	"github.com/tributaryhq/tributary/internal/runs"
	"github.com/tributaryhq/tributary/internal/secret"
	"github.com/tributaryhq/tributary/internal/setaside"
	"github.com/tributaryhq/tributary/internal/validate"
	"github.com/tributaryhq/tributary/internal/vitals"
	"github.com/tributaryhq/tributary/internal/watchdog"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/contracts"
	itemworker "github.com/tributaryhq/tributary/services/item-worker"
	"github.com/tributaryhq/tributary/services/scheduler"
	"github.com/tributaryhq/tributary/services/syncer"
	tokenrefresher "github.com/tributaryhq/tributary/services/token-refresher"
	webhookingress "github.com/tributaryhq/tributary/services/webhook-ingress"
)

// The services that a process can run.
const (
	SchedulerService  = "scheduler"
	SyncerService     = "syncer"
	ItemWorkerService = "item-worker"
	// TokenRefresherService is of use where there is a provider with OAuth, and for the rotation of keys.
	TokenRefresherService = "token-refresher"
	IngressService        = "webhook-ingress"
)

// Services lists them all.
func Services() []string {
	return []string{SchedulerService, SyncerService, ItemWorkerService, IngressService, TokenRefresherService}
}

// Config is what a process is given. What is left out has a sensible default, but for the connections, the ring and the
// providers.
type Config struct {
	NATS *nats.Conn
	// Pool may be nil for a process that runs the webhook ingress alone.
	Pool *pgxpool.Pool
	// Listening is how notifications of Postgres arrive.
	Listening postgres.Listening
	Ring      *secret.Ring
	Providers map[string]contracts.Provider
	// Handlers are found by event type.
	Handlers map[string][]itemworker.ItemHandler
	// AroundWebhook is put around the handlers of webhooks; nil means nothing.
	AroundWebhook func(contracts.WebhookFunc) contracts.WebhookFunc
	Log           *slog.Logger
	Metrics       prometheus.Registerer
	Tracers       trace.TracerProvider
	// Machine is the clock of this machine; nil means [time.Now]. Now is what services go by; nil means the broker's
	// clock.
	Machine, Now func() time.Time
	Crash        func(point string)
	Timing       wire.Timing
	Replicas     int
	// Egress is how requests leave. Its zero value lets them reach the public internet alone.
	Egress outbound.Egress
	// Transport is under every client of every integration; nil means one that keeps to Egress.
	Transport http.RoundTripper

	Requests requestlog.Settings
	// LeaseMargin is by how much the lease of an idempotency key outlasts the time of who has it.
	LeaseMargin time.Duration

	Health   health.Settings
	SetAside setaside.Settings
	// Circuit is how circuits judge; Circuits is that of single providers.
	Circuit        circuit.Settings
	Circuits       map[string]circuit.Settings
	Control        control.Settings
	Scheduler      scheduler.Settings
	Syncer         syncer.Settings
	ItemWorker     itemworker.Settings
	TokenRefresher tokenrefresher.Settings
	// WebhookAddr, or the listener if it is given, is where webhooks come in, WebhookPrefix is before their routes, and
	// WebhookBacklog is how many bytes of them the broker may hold.
	WebhookAddr     string
	WebhookListener net.Listener
	WebhookPrefix   string
	WebhookBacklog  int64
	Ingress         webhookingress.Settings
}

// Defaults fills what a test or a command does not set itself.
func Defaults() Config {
	return Config{
		Log: slog.New(slog.DiscardHandler), Tracers: noop.NewTracerProvider(), Timing: wire.DefaultTiming(),
		Replicas: 1, Requests: requestlog.DefaultSettings(), LeaseMargin: idempotency.LeaseMargin,
		Health: health.DefaultSettings(), SetAside: setaside.DefaultSettings(), Circuit: circuit.DefaultSettings(),
		Control: control.DefaultSettings(), Scheduler: scheduler.DefaultSettings(), Syncer: syncer.DefaultSettings(),
		ItemWorker: itemworker.DefaultSettings(), TokenRefresher: tokenrefresher.DefaultSettings(),
		WebhookAddr: "127.0.0.1:0", WebhookPrefix: "/integrations", WebhookBacklog: wire.WebhookBacklog,
		Ingress: webhookingress.DefaultSettings(),
	}
}

// Platform is one process's parts.
type Platform struct {
	Bus         *bus.Bus
	Store       *postgres.Store
	Checkpoints *checkpoint.Store
	Registry    *registry.Registry
	// Feed tells of changed integrations while [Platform.Run] runs.
	Feed *integrations.Feed
	// Integrations are opened, kept and kept current.
	Integrations *integrations.Loader
	// Directory is what the webhook ingress knows of integrations.
	Directory *directory.Directory
	// Readiness is whether the services could do their work now. It is filled while [Platform.Run] runs.
	Readiness *readiness.Board
	// loops are those of the services that run.
	loops watchdog.Board

	clock    *bus.Clock
	vitals   *vitals.Vitals
	config   Config
	requests *requestlog.Log
	tokens   *tokenrefresher.Refresher
	budgets  *budget.Budgets
	circuits *circuit.Circuits
	keys     cells.Cells
	grants   cells.Cells
	health   *health.Keeper
	setAside *setaside.Set
	losses   *LossMetrics
	surveys  func(context.Context) error
	services map[string]func(context.Context) error
}

// New checks the providers, applies streams and buckets, and builds the services.
func New(ctx context.Context, config Config) (*Platform, error) {
	registry, err := registry.New(config.Providers)
	if err != nil {
		return nil, err
	}
	for _, key := range registry.Keys() {
		if err := validate.Rules(config.Providers[key]); err != nil {
			return nil, fmt.Errorf("provider %q: %w", key, err)
		}
	}
	if config.Metrics == nil {
		config.Metrics = prometheus.NewRegistry()
	}
	p := &Platform{Registry: registry, Store: postgres.New(config.Pool, config.Ring), config: config}
	p.Store.ListenBy(config.Listening)
	if p.losses, err = NewLossMetrics(config.Metrics); err != nil {
		return nil, err
	}
	if config.Ring != nil {
		if err := config.Ring.Register(config.Metrics); err != nil {
			return nil, err
		}
	}
	if p.Readiness, err = readiness.New(config.Log, config.Metrics); err != nil {
		return nil, err
	}
	if config.Machine == nil {
		config.Machine = config.Now
	}
	p.Bus, err = bus.New(config.NATS, bus.Options{
		Log: config.Log, Tracer: config.Tracers.Tracer("tributary/bus"), Timing: config.Timing,
		Replicas: config.Replicas, Now: config.Machine, WebhookBacklog: config.WebhookBacklog,
	})
	if err != nil {
		return nil, err
	}
	p.Store.Accepts = func(m postgres.Outgoing) error { return p.Bus.Accepts(wire.Message(m)) }
	if err := p.Bus.Apply(ctx); err != nil {
		return nil, err
	}
	if err := p.keepTime(ctx); err != nil {
		return nil, err
	}
	if p.Checkpoints, err = checkpoint.Open(ctx, p.Bus); err != nil {
		return nil, err
	}
	if err := p.buildSetAside(); err != nil {
		return nil, err
	}
	p.health = &health.Keeper{Store: p.Store, Log: config.Log, Now: p.config.Now, Settings: config.Health}
	if err := p.guard(ctx); err != nil {
		return nil, err
	}
	return p, p.build()
}

func (p *Platform) build() error {
	c := p.config
	p.vitals = vitals.New(p.health, c.Log, c.Now)
	chains, err := p.chains()
	if err != nil {
		return err
	}
	p.Feed = integrations.NewFeed(p.Store)
	p.Integrations = p.loader(chains)
	if p.tokens, err = p.refresher(chains); err != nil {
		return err
	}
	schedulerMetrics, err := scheduler.NewMetrics(c.Metrics)
	if err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	controlMetrics, err := control.NewMetrics(c.Metrics)
	if err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	syncerMetrics, err := syncer.NewMetrics(c.Metrics)
	if err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	workerMetrics, err := itemworker.NewMetrics(c.Metrics)
	if err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	ingressMetrics, err := webhookingress.NewMetrics(c.Metrics)
	if err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	deliveries := delivery.NewCodec(c.Ring)
	p.Directory = directory.New(p.Bus, c.Ring, c.Log)
	ingress := webhookingress.New(webhookingress.Config{
		Bus: p.Bus, Directory: p.Directory, Deliveries: deliveries, Registry: p.Registry,
		Log: c.Log.With("service", IngressService), Metrics: ingressMetrics,
		Tracer: c.Tracers.Tracer("tributary/webhook-ingress"), Now: c.Now, Crash: c.Crash, Addr: c.WebhookAddr,
		Listener: c.WebhookListener, Prefix: c.WebhookPrefix, Settings: c.Ingress,
	})
	checker := &health.Checker{
		Keeper: p.health, Registry: p.Registry, Integrations: p.Integrations, SetAside: p.setAside,
	}
	lives, err := runs.NewStore(runs.Config{
		Postgres: p.Store, Checkpoints: p.Checkpoints, Registry: p.Registry, Health: p.health,
		Log:    c.Log.With("service", SchedulerService),
		Tracer: c.Tracers.Tracer("tributary/scheduler"), Now: c.Now, Crash: c.Crash, MaxBackoff: c.Scheduler.MaxBackoff,
		StuckAfter: c.Scheduler.StuckAfter,
	})
	if err != nil {
		return err
	}
	schedules := scheduler.New(scheduler.Config{
		Bus: p.Bus, Checkpoints: p.Checkpoints, Store: p.Store, Runs: lives, SetAside: p.setAside,
		Log: c.Log.With("service", SchedulerService), Metrics: schedulerMetrics, Now: c.Now, Crash: c.Crash,
		Settings: c.Scheduler,
	})
	controls := control.New(control.Config{
		Bus: p.Bus, Checkpoints: p.Checkpoints, Store: p.Store, Feed: p.Feed, Registry: p.Registry,
		Validator: validate.New(),
		Health:    checker, SetAside: p.setAside, Budgets: p.budgets, Circuits: p.circuits, Runs: lives,
		Scheduler: schedules,
		Log:       c.Log.With("service", SchedulerService), Metrics: controlMetrics, Now: c.Now, Crash: c.Crash,
		Settings: c.Control,
	})
	p.surveys = func(ctx context.Context) error { return p.survey(ctx, schedules) }
	syncs := syncer.New(syncer.Config{
		Bus: p.Bus, Checkpoints: p.Checkpoints, Store: p.Store, Runs: lives, Registry: p.Registry,
		Integrations: p.Integrations,
		Log:          c.Log.With("service", SyncerService), Metrics: syncerMetrics, Now: c.Now, Crash: c.Crash,
		Settings: c.Syncer,
	})
	works := itemworker.New(itemworker.Config{
		Bus: p.Bus, Checkpoints: p.Checkpoints, Store: p.Store, Registry: p.Registry, Integrations: p.Integrations,
		Handlers: c.Handlers, AroundWebhook: c.AroundWebhook, Deliveries: deliveries, SetAside: p.setAside,
		Log: c.Log.With("service", ItemWorkerService), Metrics: workerMetrics, Now: c.Now, Crash: c.Crash,
		Settings: c.ItemWorker,
	})
	p.services = map[string]func(context.Context) error{
		SchedulerService: together(schedules.Run, controls.Run), SyncerService: syncs.Run, ItemWorkerService: works.Run,
		IngressService: ingress.Run, TokenRefresherService: p.tokens.Run,
	}
	return nil
}

// together runs the parts of a service. The first that fails ends the others.
func together(parts ...func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		group, ctx := errgroup.WithContext(ctx)
		for _, run := range parts {
			group.Go(func() error { return run(ctx) })
		}
		return group.Wait()
	}
}

// buildSetAside makes what all services share of the work that fails.
func (p *Platform) buildSetAside() error {
	metrics, err := setaside.NewMetrics(p.config.Metrics)
	if err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	p.setAside = &setaside.Set{
		Store: p.Store, Log: p.config.Log, Metrics: metrics, Now: p.config.Now, Settings: p.config.SetAside,
		Ready: func(ctx context.Context, kind setaside.Kind) error {
			return errors.Join(p.Store.Ready(ctx), p.Bus.Answers(ctx, streamsFor(kind)...))
		},
	}
	return nil
}

// streamsFor are the streams that the steps of a list need beside Postgres. One that is away says nothing about the
// others' steps.
func streamsFor(kind setaside.Kind) []string {
	checkpoints := bus.StreamOf(wire.BucketCheckpoints)
	switch kind {
	case setaside.CloseRun:
		return []string{wire.StreamSync, wire.StreamItems, checkpoints}
	case setaside.ResolveRun, setaside.FreeEntries:
		return []string{wire.StreamItems, checkpoints}
	case setaside.EndWait:
		return []string{wire.StreamItems}
	case setaside.Directory:
		return []string{bus.StreamOf(wire.BucketDirectory)}
	case setaside.AdoptToken:
		return []string{bus.StreamOf(wire.BucketGrants)}
	default:
		return nil
	}
}

// Run runs services until ctx ends, and returns when all have stopped. The first that fails ends the others.
func (p *Platform) Run(ctx context.Context, services ...string) error {
	group, ctx := errgroup.WithContext(watchdog.WithBoard(ctx, &p.loops))
	p.addChecks(services)
	for _, name := range slices.Compact(slices.Sorted(slices.Values(services))) {
		run, ok := p.services[name]
		if !ok {
			return fmt.Errorf("there is no service %q", name)
		}
		group.Go(func() error {
			if err := run(ctx); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		})
	}
	group.Go(func() error { return compareClocks(ctx, p.clock, p.config.Log) })
	group.Go(func() error { return p.keepReady(ctx) })
	group.Go(func() error { return p.serveProcess(ctx, services) })
	group.Go(func() error { return p.surveys(ctx) })
	if p.config.Pool == nil {
		return group.Wait()
	}
	group.Go(func() error {
		if err := p.Store.CheckRing(ctx); err != nil && ctx.Err() == nil {
			p.config.Log.Error("credentials can't be opened; what needs them waits", "error", err)
		}
		return nil
	})
	group.Go(func() error { return p.Feed.Run(ctx) })
	group.Go(func() error { return p.Integrations.Run(ctx) })
	group.Go(func() error { return p.budgets.Run(ctx) })
	group.Go(func() error { return p.circuits.Run(ctx) })
	// The request log and the vitals outlive who makes requests.
	logging, stop := context.WithCancel(context.WithoutCancel(ctx))
	var logged sync.WaitGroup
	logged.Go(func() { p.requests.Run(logging) })
	logged.Go(func() { p.vitals.Run(logging) })
	err := group.Wait()
	stop()
	logged.Wait()
	return err
}
