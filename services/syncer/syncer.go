// Package syncer takes due runs, has the provider enumerate what there is, and hands it over in batches. When the
// broker has every batch it writes the total; only then is the due event acknowledged. See "Enumerate" and "Total" in
// docs/architecture.md.
package syncer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/deferral"
	"github.com/tributaryhq/tributary/internal/fate"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/integrations"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/registry"
	"github.com/tributaryhq/tributary/internal/runs"
	"github.com/tributaryhq/tributary/internal/runstate"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/contracts"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// Settings are the numbers that a syncer runs by; [DefaultSettings] has the measured ones.
type Settings struct {
	// Runs is how many runs of one provider a process enumerates at a time.
	Runs int
	// Turn is how long an enumeration keeps its slot while others wait for one. Then it gives the slot away, and takes
	// one again with its next batch.
	Turn time.Duration
	// BatchItems and BatchBytes close a batch, whichever is reached first. An item larger than BatchBytes travels
	// alone. Larger batches cost less CPU an item until handlers that take a millisecond begin to wait for the last of
	// each; the broker's limit is 1 MiB by default.
	BatchItems int
	BatchBytes int
	// Linger closes a batch that has waited this long for more.
	Linger time.Duration
	// Window is how many batches of a run may be under way: published and not worked off. It keeps large runs side by
	// side and the broker's disk small.
	Window int
	// Retrying is how many items of a run may wait for another hop before the enumeration waits for them.
	Retrying int
	// Publishers is how many batches of a run are on their way to the broker at a time.
	Publishers int
	// Tries is how many enumerations of a run may fail; deferrals don't count.
	Tries int
	// Backoff is the wait after each failed enumeration, the last one repeated.
	Backoff []time.Duration
	// Waits bound how long a deferred run waits.
	Waits deferral.Bounds
	// Patience is how long one request of an enumeration may wait in place for a budget, a circuit, a token or the
	// upstream; what takes longer defers the run, which then begins at its first page again.
	Patience time.Duration
	// Aside is how many enumerations of a process may be without a slot, because they wait in place or for their turn.
	Aside int
	// RunWindow is how long a run may go on trying, deferrals included.
	RunWindow time.Duration
	// Silence is how long a provider may neither hand an item over nor return.
	Silence time.Duration
	// Grace is how long a provider may go on after the service was told to stop.
	Grace time.Duration
}

// DefaultSettings are the original's limits and the figures of the measurements in docs/benchmarks.md.
func DefaultSettings() Settings {
	return Settings{
		Runs: 16, Turn: time.Second, BatchItems: 512, BatchBytes: 384 << 10, Linger: 200 * time.Millisecond,
		Window: 64, Retrying: 4096, Publishers: 8,
		Tries: 5, Backoff: []time.Duration{
			10 * time.Second, 30 * time.Second, 2 * time.Minute, 5 * time.Minute,
			15 * time.Minute,
		},
		Waits: deferral.Default(), Patience: 70 * time.Minute, Aside: 64, RunWindow: 6 * time.Hour,
		Silence: 30 * time.Minute, Grace: 10 * time.Second,
	}
}

// Config is what a syncer is made of.
type Config struct {
	Bus         *bus.Bus
	Checkpoints *checkpoint.Store
	Store       *postgres.Store
	// Runs writes the runs.
	Runs         *runs.Store
	Registry     *registry.Registry
	Integrations *integrations.Loader
	Log          *slog.Logger
	Metrics      *Metrics
	Now          func() time.Time
	// Crash is called at named points; tests end the process there. It may be nil.
	Crash    func(point string)
	Settings Settings
}

// Syncer is the service. Any number of them may run.
type Syncer struct {
	Config
	// repeats and packers are large, and used again and again.
	repeats, packers sync.Pool
	// aside has a place for each enumeration that is without a slot.
	aside chan struct{}
}

// New returns a syncer.
func New(config Config) *Syncer {
	if config.Crash == nil {
		config.Crash = func(string) {}
	}
	config.Settings.BatchItems = min(config.Settings.BatchItems, postgres.MaxReceiptItems)
	return &Syncer{
		Config: config, aside: make(chan struct{}, config.Settings.Aside),
		repeats: sync.Pool{New: func() any {
			return &repeats{shelves: new(shelves)}
		}}, packers: sync.Pool{New: func() any { return &wire.Packer{} }},
	}
}

// Run takes due runs of the providers in the registry until ctx ends.
func (s *Syncer) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, key := range s.Registry.Keys() {
		provider, err := s.Registry.Provider(key)
		if err != nil {
			return err
		}
		if _, ok := provider.(contracts.ScheduledSync); !ok {
			continue
		}
		group.Go(func() error {
			return s.Bus.Consume(ctx, bus.Consumption{
				Stream: wire.StreamSync, Consumer: wire.SyncConsumer(key, s.Bus.Timing()),
				Slots: s.Settings.Runs, Grace: s.Settings.Grace, Hold: s.Store.Ready, Handle: s.handle,
			})
		})
	}
	return group.Wait()
}

// errNotOurs ends an enumeration that the run no longer accepts; errPaused one whose integration is paused.
var (
	errNotOurs  = errors.New("the run was closed, or has a newer attempt")
	errPaused   = errors.New("the integration is paused")
	errStopping = errors.New("the service is stopping")
	errSilent   = errors.New("the provider has neither handed an item over nor returned for too long")
)

func (s *Syncer) handle(ctx context.Context, d *bus.Delivery) error {
	due := &eventsv1.SyncDue{}
	if err := proto.Unmarshal(d.Body, due); err != nil {
		s.Log.Error("due event can't be read, dropped", "subject", d.Subject, "error", err)
		return nil
	}
	runID, err := uuid.Parse(due.GetRunId())
	if err != nil {
		s.Log.Error("due event without a run, dropped", "subject", d.Subject, "run", due.GetRunId(), "error", err)
		return nil
	}
	run, before, err := s.start(ctx, runID, due.GetWake())
	if err != nil || run == nil {
		return s.outage(err)
	}
	s.Crash("syncer: attempt started")
	if err := s.clear(ctx, run, before); err != nil {
		return s.outage(err)
	}
	return s.outage(s.attempt(ctx, d, run))
}

// start makes a new attempt the run's newest, by compare-and-set, and returns the attempt before it too. No run means
// that there is nothing to do.
func (s *Syncer) start(ctx context.Context, id uuid.UUID, wake int32) (started *postgres.Run, before int32, err error) {
	run, err := s.Store.RunGet(ctx, id)
	if postgres.NotFound(err) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read run %s: %w", id, err)
	}
	if run.ClosedAt != nil || run.Wake != wake || run.State != runstate.Due && run.State != runstate.Enumerating {
		return nil, 0, nil
	}
	if run.State == runstate.Enumerating {
		// The syncer that had it is gone: without a total, go on as the next attempt.
		total, err := s.Checkpoints.ReadTotal(ctx, id.String(), run.Attempt)
		if err != nil {
			return nil, 0, err
		}
		if total != nil {
			return nil, 0, s.Runs.Enumerated(ctx, run, total)
		}
		if err := s.alive(run); err != nil {
			return nil, 0, err
		}
	}
	lag := s.Now().Sub(run.HeartbeatAt)
	started, err = s.Runs.Begin(ctx, run)
	if started != nil && err == nil {
		s.Metrics.dueLag(run.Provider, lag)
	}
	return started, run.Attempt, err
}

// clear purges what the attempt before this one left behind. It saves work only: workers refuse what older attempts
// have on the way, and the entries of all attempts are freed when the run has closed.
func (s *Syncer) clear(ctx context.Context, run *postgres.Run, before int32) error {
	if before == 0 {
		return nil
	}
	filters := wire.RunFilters(run.Provider, run.IntegrationID.String(), run.ID.String(), before)
	if err := s.Bus.Purge(ctx, wire.StreamItems, filters...); err != nil {
		return err
	}
	return s.Checkpoints.Free(ctx, run.ID.String(), before)
}

// attempt enumerates, and writes down how that ended.
func (s *Syncer) attempt(ctx context.Context, d *bus.Delivery, run *postgres.Run) error {
	log := s.Log.With("run", run.ID, "attempt", run.Attempt, "provider", run.Provider)
	if reason := s.exhausted(run); reason != "" {
		return s.finish(ctx, run, &eventsv1.Total{Error: reason.String()})
	}
	result, err := s.enumerate(ctx, d, run)
	var theirs *providerError
	switch {
	case err == nil:
		log.Info("enumerated", "mode", run.Mode, "items", result.GetItems(), "batches", result.GetBatches(),
			"duplicates", result.GetDuplicates())
		if result.GetNote() != "" {
			log.Warn("checkpoints do not count", "note", result.GetNote())
		}
		return s.finish(ctx, run, result)
	case errors.Is(err, errNotOurs):
		log.Info("enumeration ended, the run does not accept it any more")
		return nil
	case errors.Is(err, errPaused):
		return s.wait(ctx, run, runs.Pause{Why: "paused", Cause: deferral.Pause, GiveBack: true})
	case errors.Is(err, errStopping):
		return s.wait(ctx, run, runs.Pause{Until: s.Now(), Cause: deferral.Pause, GiveBack: true})
	case !errors.As(err, &theirs) && errors.Is(err, bus.ErrTooLarge):
		// The broker's limit was lowered meanwhile: the next attempt packs smaller batches.
		return s.wait(ctx, run, runs.Pause{Until: s.Now().Add(time.Second), Why: "the broker accepts smaller " +
			"messages than before", GiveBack: true})
	case !errors.As(err, &theirs) && postgres.Unavailable(err):
		return err
	}
	becomes := s.fate(run, err)
	if becomes.Kind == fate.Dead && becomes.Reason != fate.Window {
		log.Warn("enumeration failed for good; what it handed over is still worked off", "try", run.Tries, "error", err)
		s.Metrics.failed(run.Provider)
		result.Error = foreign.Of(err).String()
		return s.finish(ctx, run, result)
	}
	p := s.pauseFor(run, err, becomes)
	if becomes.Kind == fate.Dead {
		log.Warn("the run's window ends before its next enumeration; what it handed over is still worked off", "until",
			p.Until,
			"window_ends", run.WindowFrom.Add(s.Settings.RunWindow), "error", err)
		s.Metrics.failed(run.Provider)
		result.Error = fmt.Sprintf("waited too long: its next enumeration would be after the window of %s: %s",
			s.Settings.RunWindow, err)
		return s.finish(ctx, run, result)
	}
	return s.wait(ctx, run, p)
}

// fate is what becomes of a run whose enumeration failed.
func (s *Syncer) fate(run *postgres.Run, err error) fate.Fate {
	policy := fate.Policy{
		Tries: s.Settings.Tries, Backoff: s.Settings.Backoff, Waits: s.Settings.Waits, Window: s.Settings.RunWindow,
	}
	// The run counts this try already.
	before := fate.History{Tries: int(run.Tries) - 1, Deferrals: int(run.Deferrals), Age: s.Now().Sub(run.WindowFrom)}
	return policy.OfFailure(err, before)
}

// pauseFor is the pause of a run until its next enumeration.
func (s *Syncer) pauseFor(run *postgres.Run, err error, becomes fate.Fate) runs.Pause {
	log := s.Log.With("run", run.ID, "attempt", run.Attempt, "provider", run.Provider)
	now := s.Now()
	p := runs.Pause{Why: foreign.Of(err), Cause: becomes.Cause, Until: now.Add(becomes.Wait)}
	if becomes.Failed {
		log.Warn("enumeration failed, to be tried again", "until", p.Until, "try", run.Tries, "error", err)
		s.Metrics.failed(run.Provider)
		return p
	}
	p.GiveBack = true
	if becomes.Asked > 0 {
		p.Asked = now.Add(becomes.Asked)
		log.Warn("enumeration deferred for longer than any wait may be; it is tried again before", "until", p.Until,
			"asked_until", p.Asked, "error", err)
	} else {
		log.Info("enumeration deferred", "until", p.Until, "for", p.Cause, "error", err)
	}
	s.Metrics.deferred(run.Provider)
	return p
}

// finish writes the total, from which on the run can complete.
func (s *Syncer) finish(ctx context.Context, run *postgres.Run, total *eventsv1.Total) error {
	total.EndedAt = timestamppb.New(s.Now())
	s.Crash("syncer: before total")
	if err := s.Checkpoints.WriteTotal(ctx, run.ID.String(), run.Attempt, total); err != nil {
		return err
	}
	s.Crash("syncer: total written")
	return s.Runs.Enumerated(ctx, run, total)
}

// wait puts the run off.
func (s *Syncer) wait(ctx context.Context, run *postgres.Run, pause runs.Pause) error {
	if err := s.Runs.Wait(ctx, run, pause); err != nil {
		return err
	}
	s.Crash("syncer: waiting")
	return nil
}

// outage hands a due event back while Postgres can't be reached.
func (s *Syncer) outage(err error) error {
	if err != nil && postgres.Unavailable(err) {
		return bus.Again(2*time.Second, err.Error())
	}
	return err
}

func orUnknown(reason foreign.Text) foreign.Text {
	if reason == "" {
		return "the process died each time"
	}
	return reason
}
