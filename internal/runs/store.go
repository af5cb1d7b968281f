package runs

import (
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/health"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/registry"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// Config is what a store of runs is made of.
type Config struct {
	Postgres    *postgres.Store
	Checkpoints *checkpoint.Store
	Registry    *registry.Registry
	Health      *health.Keeper
	Log         *slog.Logger
	// Tracer starts the trace of every run; nil traces nothing.
	Tracer trace.Tracer
	Now    func() time.Time
	// Crash is called at named points; tests end the process there. It may be nil.
	Crash func(point string)
	// MaxBackoff caps how many intervals a failing integration waits: min(2^(n-1), MaxBackoff).
	MaxBackoff int
	// StuckAfter is in how many runs in a row a record must be dead to be called stuck.
	StuckAfter int
}

// Store writes runs. Each transition is a method, and one transaction or a part of the caller's.
type Store struct {
	Config
	// Tracker is fed by the scheduler. Other services have none that is.
	Tracker   *Tracker
	intervals map[string]time.Duration
	providers []string
}

// NewStore returns a store of runs.
func NewStore(config Config) (*Store, error) {
	if config.Crash == nil {
		config.Crash = func(string) {}
	}
	if config.Tracer == nil {
		config.Tracer = noop.NewTracerProvider().Tracer("")
	}
	s := &Store{Config: config, Tracker: NewTracker(), intervals: map[string]time.Duration{}, providers: []string{}}
	for _, key := range config.Registry.Keys() {
		provider, err := config.Registry.Provider(key)
		if err != nil {
			return nil, err
		}
		if scheduled, ok := provider.(contracts.ScheduledSync); ok {
			s.intervals[key] = scheduled.DefaultSyncInterval()
			s.providers = append(s.providers, key)
		}
	}
	return s, nil
}

// Providers are the keys of the registry's providers that can be synced.
func (s *Store) Providers() []string { return s.providers }

// DefaultInterval is the time between two syncs of a provider's integrations. It is false for a provider that the
// registry lacks, or that can't be synced.
func (s *Store) DefaultInterval(provider string) (interval time.Duration, known bool) {
	interval, known = s.intervals[provider]
	return interval, known
}

// Interval is the time between two syncs of an integration.
func (s *Store) Interval(integration *postgres.Integration) time.Duration {
	if integration.SyncInterval != nil {
		return *integration.SyncInterval
	}
	return s.intervals[integration.Provider]
}
