// Package control is the operators' side of Tributary. It answers the API, carries out commands, and keeps house: it
// ends overrides, prunes tables and maintains the directory. Processes with the service scheduler run it. Any number of
// them may: every change is a compare-and-set or one transaction.
package control

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/tributaryhq/tributary/internal/budget"
	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/circuit"
	"github.com/tributaryhq/tributary/internal/control/commands"
	"github.com/tributaryhq/tributary/internal/control/housekeeping"
	"github.com/tributaryhq/tributary/internal/health"
	"github.com/tributaryhq/tributary/internal/integrations"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/registry"
	"github.com/tributaryhq/tributary/internal/runs"
	"github.com/tributaryhq/tributary/internal/setaside"
	"github.com/tributaryhq/tributary/internal/validate"
)

// Settings are the numbers that the operators' side runs by.
type Settings struct {
	Commands     commands.Settings
	Housekeeping housekeeping.Settings
}

// DefaultSettings are the original's limits.
func DefaultSettings() Settings {
	return Settings{Commands: commands.DefaultSettings(), Housekeeping: housekeeping.DefaultSettings()}
}

// Config is what the operators' side is made of.
type Config struct {
	Bus         *bus.Bus
	Checkpoints *checkpoint.Store
	Store       *postgres.Store
	// Feed tells of changed integrations.
	Feed      *integrations.Feed
	Registry  *registry.Registry
	Validator *validate.Validator
	Health    *health.Checker
	// SetAside keeps work that fails, so that other work proceeds.
	SetAside *setaside.Set
	// Budgets and Circuits are shown to operators.
	Budgets  *budget.Budgets
	Circuits *circuit.Circuits
	Runs     *runs.Store
	// Scheduler is that of the process.
	Scheduler commands.Scheduler
	Log       *slog.Logger
	Metrics   Metrics
	Now       func() time.Time
	// Crash is called at named points; tests end the process there. It may be nil.
	Crash    func(point string)
	Settings Settings
}

// Metrics are what the operators' side measures.
type Metrics struct {
	Commands     *commands.Metrics
	Housekeeping *housekeeping.Metrics
}

// NewMetrics registers the metrics of the operators' side.
func NewMetrics(registerer prometheus.Registerer) (m Metrics, err error) {
	if m.Commands, err = commands.NewMetrics(registerer); err != nil {
		return m, err
	}
	m.Housekeeping, err = housekeeping.NewMetrics(registerer)
	return m, err
}

// Control is the operators' side.
type Control struct {
	Config
	commands     *commands.Executor
	housekeeping *housekeeping.Keeper
}

// New returns the operators' side.
func New(c Config) *Control {
	return &Control{
		Config: c,
		commands: commands.New(commands.Config{
			Bus: c.Bus, Store: c.Store, Registry: c.Registry, Health: c.Health, Runs: c.Runs, Scheduler: c.Scheduler,
			Log: c.Log, Metrics: c.Metrics.Commands, Now: c.Now, Crash: c.Crash, Settings: c.Settings.Commands,
		}),
		housekeeping: housekeeping.New(housekeeping.Config{
			Bus: c.Bus, Store: c.Store, Feed: c.Feed, Health: c.Health, SetAside: c.SetAside, Circuits: c.Circuits,
			Log: c.Log, Metrics: c.Metrics.Housekeeping, Now: c.Now, Crash: c.Crash, Settings: c.Settings.Housekeeping,
		}),
	}
}

// Run serves operators until ctx ends.
func (c *Control) Run(ctx context.Context) error {
	// A row that is locked for long delays the work that needs it, and no other.
	group, ctx := errgroup.WithContext(postgres.BoundLocks(ctx, c.Settings.Commands.LockWait))
	group.Go(func() error { return commands.NewStream(c.commands).Run(ctx) })
	group.Go(func() error { return c.housekeeping.Run(ctx) })
	group.Go(func() error { return c.serve(ctx) })
	return group.Wait()
}
