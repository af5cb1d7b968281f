// Package scheduler opens runs when they are due, closes them when every item has its outcome, and moves the cursor
// when that is true. It also relays the outbox, and drives runs again that nobody drives. Any number of schedulers run
// at once, none is a leader: every change is a compare-and-set or one transaction. Commands and the API are in
// internal/control, which the same processes run.
package scheduler

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/loop"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/runs"
	"github.com/tributaryhq/tributary/internal/setaside"
	"github.com/tributaryhq/tributary/internal/suspects"
	"github.com/tributaryhq/tributary/internal/wire"
)

// Settings are the numbers that a scheduler runs by; [DefaultSettings] has the original's.
type Settings struct {
	// Tick is how often due integrations and waiting runs are looked for.
	Tick time.Duration
	// Sweep is how often runs that nobody drives, finished leftovers and stale integrations are looked for.
	Sweep time.Duration
	// Mark is how often the mark moves that shows whether a store went back.
	Mark time.Duration
	// Silent is how long an open run may show no sign of life before the sweep looks at it.
	Silent time.Duration
	// ClockHold is for how long the mark must be of a later time than it is before that is put down to a clock that was
	// ahead.
	ClockHold time.Duration
	// EntriesGrace is how long a closed run's entries are kept; longer than an ack deadline.
	EntriesGrace time.Duration
	// MaxBackoff caps how many intervals a failing integration waits: min(2^(n-1), MaxBackoff).
	MaxBackoff int
	// StuckAfter is in how many runs on end a record must be dead to be called stuck.
	StuckAfter int
	// StaleAfter is how many intervals may pass without a clean sync.
	StaleAfter int
	// UnclaimedAfter is for how long an integration of a provider that this process lacks may be due before it is
	// stale.
	UnclaimedAfter time.Duration
	// RedriveWindow is after how long a redrive of which nothing is heard is given up.
	RedriveWindow time.Duration
	// Closers is how many runs are closed, and reduced late, at once. One provider has at most half of them.
	Closers int
	// LockWait is how long a transaction waits for a row that another one has locked. Then the work has failed, and is
	// tried again later.
	LockWait time.Duration
	// Hasten is how long the items of one integration are brought forward before others have their turn.
	Hasten time.Duration
}

// DefaultSettings are the original's limits.
func DefaultSettings() Settings {
	return Settings{
		Tick: time.Second, Sweep: 10 * time.Second, Mark: time.Second, ClockHold: time.Minute, Silent: 45 * time.Second,
		EntriesGrace: time.Minute,
		MaxBackoff:   16, StuckAfter: 5, StaleAfter: 10, UnclaimedAfter: 10 * time.Minute, RedriveWindow: 7 * time.Hour,
		LockWait: 5 * time.Second,
		Closers:  8, Hasten: 30 * time.Second,
	}
}

// Config is what a scheduler is made of.
type Config struct {
	Bus         *bus.Bus
	Checkpoints *checkpoint.Store
	Store       *postgres.Store
	// Runs writes the runs.
	Runs *runs.Store
	// SetAside is the work that fails, so that the rest proceeds.
	SetAside *setaside.Set
	Log      *slog.Logger
	Metrics  *Metrics
	Now      func() time.Time
	// Crash is called at named points; tests end the process there. It may be nil.
	Crash    func(point string)
	Settings Settings
}

// Scheduler is the service.
type Scheduler struct {
	Config
	due   chan struct{}
	relay chan struct{}
	lost  losses
	// closers call reducers, which may hang.
	closers *setaside.Workers
	// reducers has a reducer that may have ended a process called while no other is.
	reducers suspects.Gate
	// resolving says that the process has looked for runs to resolve before; the sweep alone looks at it.
	resolving bool
	// entriesAfter is the last run of a full page whose entries were to be freed; the sweep alone looks at it.
	entriesAfter runPlace
	// relayAway says that the relay has reported a stream that can't be reached; the relay alone looks at it.
	relayAway bool
}

// New returns a scheduler.
func New(config Config) *Scheduler {
	if config.Crash == nil {
		config.Crash = func(string) {}
	}
	return &Scheduler{
		Config: config, due: make(chan struct{}, 1), relay: make(chan struct{}, 1),
		lost:    losses{kicks: make(chan struct{}, 1)},
		closers: setaside.NewWorkers(config.Settings.Closers), reducers: suspects.NewGate(),
	}
}

// Kick has the scheduler look at once for what is due, to be published, and complete.
func (s *Scheduler) Kick() {
	loop.Kick(s.due)
	loop.Kick(s.relay)
	s.Runs.Tracker.Kick()
}

// Run schedules until ctx ends.
func (s *Scheduler) Run(ctx context.Context) error {
	cells, err := s.Bus.Cells(ctx, wire.BucketMark)
	if err != nil {
		return err
	}
	// Whoever locks a row for long delays what is to be done with it, and nothing else.
	ctx = postgres.BoundLocks(ctx, s.Settings.LockWait)
	mark := &mark{Scheduler: s, cells: cells}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return loop.Every(ctx, s.Log, "compare the stores", s.Settings.Mark, nil, mark.compare)
	})
	group.Go(func() error { return loop.Every(ctx, s.Log, "claim due runs", s.Settings.Tick, s.due, s.claimDue) })
	group.Go(func() error {
		return loop.Every(ctx, s.Log, "relay the outbox", s.Settings.Tick, s.relay, s.relayOutbox)
	})
	group.Go(func() error { s.Store.Listen(ctx, "tributary_outbox", func(string) { loop.Kick(s.relay) }); return nil })
	group.Go(func() error { return loop.Every(ctx, s.Log, "end waits", s.Settings.Tick, nil, s.endWaits) })
	group.Go(func() error { return loop.Every(ctx, s.Log, "sweep", s.Settings.Sweep, nil, s.sweep) })
	group.Go(func() error {
		return loop.Every(ctx, s.Log, "drive runs again that have lost messages", s.Settings.Sweep, s.lost.kicks,
			s.driveLost)
	})
	group.Go(func() error { return s.watch(ctx) })
	group.Go(func() error {
		return loop.Every(ctx, s.Log, "close runs", s.Settings.Tick, s.Runs.Tracker.Ready(), s.closeReady)
	})
	err = group.Wait()
	s.closers.Wait()
	return err
}
