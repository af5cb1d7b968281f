// Package commands carries out the commands of operators and applications: sync, cancel, pause, retry and others. They
// come from the stream COMMANDS and from the API. A command takes effect once, however often it is delivered.
package commands

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/announce"
	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/health"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/registry"
	"github.com/tributaryhq/tributary/internal/runs"
	"github.com/tributaryhq/tributary/internal/runstate"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// Settings are the limits of commands; [DefaultSettings] has the original's.
type Settings struct {
	// LockWait is how long a command waits for a row that another transaction has locked, the first time. It rests as
	// long before it is tried again, then longer.
	LockWait time.Duration
	// Grace is how long a command may go on after the service was told to stop.
	Grace time.Duration
}

// DefaultSettings are the original's limits.
func DefaultSettings() Settings { return Settings{LockWait: 5 * time.Second, Grace: 10 * time.Second} }

// Scheduler is what commands ask of the scheduler of their process.
type Scheduler interface {
	// Resolve reduces a closed run whose last dead item has just been skipped, so that the next sync starts from its
	// cursor. A run that waits for more, or whose provider another scheduler has, is left to the sweep.
	Resolve(ctx context.Context, run uuid.UUID) error
	// Kick has the scheduler look at once for what has become due.
	Kick()
}

// Config is what an executor is made of.
type Config struct {
	Bus      *bus.Bus
	Store    *postgres.Store
	Registry *registry.Registry
	Health   *health.Checker
	Runs     *runs.Store
	// Scheduler is that of the process.
	Scheduler Scheduler
	Log       *slog.Logger
	Metrics   *Metrics
	Now       func() time.Time
	// Crash is called at named points; tests end the process there.
	Crash    func(point string)
	Settings Settings
}

// Executor carries out commands.
type Executor struct{ Config }

// New returns an executor.
func New(config Config) *Executor {
	if config.Crash == nil {
		config.Crash = func(string) {}
	}
	return &Executor{config}
}

// Rejection is why a command was not carried out. Its text is for the sender.
type Rejection struct{ Reason string }

func (r *Rejection) Error() string { return r.Reason }

func reject(format string, args ...any) error {
	return &Rejection{Reason: fmt.Sprintf(format, args...)}
}

// reply is the result of a command.
type reply struct {
	result string
	run    *uuid.UUID
	// after is done once the command's transaction has committed.
	after func(ctx context.Context) error
}

// Do carries out a command and writes the event command-accepted, in one transaction. A command whose id was carried
// out before has no effect; an empty id is always new. A command that is refused is a [*Rejection].
func (e *Executor) Do(
	ctx context.Context, verb events.Verb, name string, c *eventsv1.Command, id string,
) (result, runID string, err error) {
	var done *reply
	err = e.Store.InTx(ctx, func(tx *postgres.Tx) error {
		done = nil
		now := e.Now()
		if id != "" {
			first, err := tx.CommandDone(ctx, id, now)
			if err != nil {
				return fmt.Errorf("note command %s: %w", id, err)
			}
			if first == 0 {
				done = &reply{result: "carried out before"}
				return tx.Barrier(ctx)
			}
		}
		in, err := Lock(ctx, tx, name)
		if err != nil {
			return err
		}
		if done, err = e.carryOut(ctx, tx, verb, in, c); err != nil {
			return err
		}
		accepted := &eventsv1.CommandAccepted{Integration: announce.Ref(in), Verb: string(verb), Result: done.result}
		if done.run != nil {
			accepted.RunId = done.run.String()
		}
		return announce.Publish(ctx, tx, now, events.CommandAccepted, in, accepted)
	})
	if err != nil {
		return "", "", err
	}
	e.Crash("scheduler: command carried out")
	e.Metrics.count(string(verb), "accepted")
	e.Log.Info("command carried out", "verb", verb, "integration", name, "result", done.result)
	e.Scheduler.Kick()
	if done.after != nil {
		if err := done.after(ctx); err != nil {
			// The command is carried out. The sweeps of the scheduler make up for this step.
			e.Log.Warn("could not tidy up after a command", "verb", verb, "integration", name, "error", err)
		}
	}
	if done.run != nil {
		runID = done.run.String()
	}
	return done.result, runID, nil
}

func (e *Executor) carryOut(
	ctx context.Context, tx *postgres.Tx, verb events.Verb, in *postgres.Integration, c *eventsv1.Command,
) (*reply, error) {
	switch verb {
	case events.VerbSync:
		return e.sync(ctx, tx, in, c)
	case events.VerbCancel:
		return e.cancel(ctx, tx, in, c)
	case events.VerbPause:
		return e.pause(ctx, tx, in, c)
	case events.VerbResume:
		return e.resume(ctx, tx, in, c)
	case events.VerbEnable:
		return e.enable(ctx, tx, in, c)
	case events.VerbRetry:
		return e.retry(ctx, tx, in, c)
	case events.VerbSkip:
		return e.skip(ctx, tx, in, c)
	case events.VerbResetCursor:
		return e.resetCursor(ctx, tx, in, c)
	case events.VerbReplay:
		return e.replay(ctx, tx, in, c)
	case events.VerbRecover:
		return e.recover(ctx, tx, in, c)
	}
	return nil, reject("unknown verb %q", verb)
}

// Lock looks an integration up by id or by name, and locks it.
func Lock(ctx context.Context, tx *postgres.Tx, name string) (*postgres.Integration, error) {
	if id, err := uuid.Parse(name); err == nil {
		in, err := tx.IntegrationLock(ctx, id)
		if !postgres.NotFound(err) {
			return in, err
		}
	}
	in, err := tx.IntegrationGetByName(ctx, name)
	if postgres.NotFound(err) {
		return nil, reject("there is no integration with the id or name %q", name)
	}
	if err != nil {
		return nil, fmt.Errorf("look up integration %q: %w", name, err)
	}
	return tx.IntegrationLock(ctx, in.ID)
}

func (e *Executor) sync(
	ctx context.Context, tx *postgres.Tx, in *postgres.Integration, c *eventsv1.Command,
) (*reply, error) {
	if in.Status != "active" {
		return nil, reject("the integration is %s: %s", in.Status, orNone(in.StatusReason))
	}
	if provider, err := e.Registry.Provider(in.Provider); err == nil {
		if _, ok := provider.(contracts.ScheduledSync); !ok {
			return nil, reject("provider %q has nothing to sync", in.Provider)
		}
	}
	mode := cmp.Or(runstate.Mode(c.GetMode()), runstate.Incremental)
	open, err := tx.RunLockOpen(ctx, in.ID)
	if err == nil {
		if err := tx.RunFollowUp(ctx, string(mode), open.ID); err != nil {
			return nil, fmt.Errorf("remember the sync: %w", err)
		}
		return &reply{result: "queued-behind", run: &open.ID}, nil
	}
	if !postgres.NotFound(err) {
		return nil, fmt.Errorf("look for an open run: %w", err)
	}
	return e.open(ctx, tx, in, mode, nil)
}

// open opens a run from a cursor, or from the integration's own if that is nil.
func (e *Executor) open(
	ctx context.Context, tx *postgres.Tx, in *postgres.Integration, mode runstate.Mode, from contracts.Cursor,
) (*reply, error) {
	run, err := e.Runs.Open(ctx, tx, in, mode, from, e.Now())
	if err != nil {
		return nil, err
	}
	if run == nil {
		return nil, reject("a run was opened at this very moment; send the command again")
	}
	return &reply{result: "started", run: &run.ID}, nil
}

func orNone(reason foreign.Text) foreign.Text {
	if reason == "" {
		return "no reason was given"
	}
	return reason
}
