package scheduler

import (
	"cmp"
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/runstate"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// rejection is why a command was not carried out; its text is for whoever sent it.
type rejection struct{ reason string }

func (r *rejection) Error() string { return r.reason }

func reject(format string, args ...any) error {
	return &rejection{reason: fmt.Sprintf(format, args...)}
}

// reply is what came of a command.
type reply struct {
	result string
	run    *uuid.UUID
	// after is done once the command's transaction has committed.
	after func(ctx context.Context) error
}

// command carries out one command and writes command-accepted, in one transaction. It does nothing, again, for an id that was carried out before; an
// empty id is always new. A refusal is a *rejection.
func (s *Scheduler) command(ctx context.Context, verb events.Verb, name string, c *eventsv1.Command, id string) (result, runID string, err error) {
	var done *reply
	ctx = postgres.BoundLocks(ctx, s.Settings.LockWait)
	err = s.Store.InTx(ctx, func(tx *postgres.Tx) error {
		done = nil
		now := s.Now()
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
		integration, err := s.find(ctx, tx, name)
		if err != nil {
			return err
		}
		if done, err = s.carryOut(ctx, tx, verb, integration, c); err != nil {
			return err
		}
		accepted := &eventsv1.CommandAccepted{Integration: ref(integration), Verb: string(verb), Result: done.result}
		if done.run != nil {
			accepted.RunId = done.run.String()
		}
		m, err := event(events.CommandAccepted, integration, accepted)
		if err != nil {
			return err
		}
		return tx.Publish(ctx, now, m)
	})
	if err != nil {
		return "", "", err
	}
	s.Crash("scheduler: command carried out")
	s.Metrics.command(string(verb), "accepted")
	s.Log.Info("command carried out", "verb", verb, "integration", name, "result", done.result)
	kick(s.due)
	if done.after != nil {
		if err := done.after(ctx); err != nil {
			// What follows only tidies up; the janitor does it too.
			s.Log.Warn("could not tidy up after a command", "verb", verb, "integration", name, "error", err)
		}
	}
	if done.run != nil {
		runID = done.run.String()
	}
	return done.result, runID, nil
}

func (s *Scheduler) carryOut(ctx context.Context, tx *postgres.Tx, verb events.Verb, integration *postgres.Integration, c *eventsv1.Command) (*reply, error) {
	switch verb {
	case events.VerbSync:
		return s.commandSync(ctx, tx, integration, c)
	case events.VerbCancel:
		return s.commandCancel(ctx, tx, integration, c)
	case events.VerbPause:
		return s.commandPause(ctx, tx, integration, c)
	case events.VerbResume:
		return s.commandResume(ctx, tx, integration, c)
	case events.VerbEnable:
		return s.commandEnable(ctx, tx, integration, c)
	case events.VerbRetry:
		return s.commandRetry(ctx, tx, integration, c)
	case events.VerbSkip:
		return s.commandSkip(ctx, tx, integration, c)
	case events.VerbResetCursor:
		return s.commandResetCursor(ctx, tx, integration, c)
	case events.VerbReplay:
		return s.commandReplay(ctx, tx, integration, c)
	case events.VerbRecover:
		return s.commandRecover(ctx, tx, integration, c)
	}
	return nil, reject("unknown verb %q", verb)
}

// find looks an integration up by id or by name, and locks it.
func (s *Scheduler) find(ctx context.Context, tx *postgres.Tx, name string) (*postgres.Integration, error) {
	if id, err := uuid.Parse(name); err == nil {
		integration, err := tx.IntegrationLock(ctx, id)
		if !postgres.NotFound(err) {
			return integration, err
		}
	}
	integration, err := tx.IntegrationGetByName(ctx, name)
	if postgres.NotFound(err) {
		return nil, reject("there is no integration with the id or name %q", name)
	}
	if err != nil {
		return nil, fmt.Errorf("look up integration %q: %w", name, err)
	}
	return tx.IntegrationLock(ctx, integration.ID)
}

func (s *Scheduler) commandSync(ctx context.Context, tx *postgres.Tx, integration *postgres.Integration, c *eventsv1.Command) (*reply, error) {
	if integration.Status != "active" {
		return nil, reject("the integration is %s: %s", integration.Status, orNone(integration.StatusReason))
	}
	if provider, err := s.Registry.Provider(integration.Provider); err == nil {
		if _, ok := provider.(contracts.ScheduledSync); !ok {
			return nil, reject("provider %q has nothing to sync", integration.Provider)
		}
	}
	mode := cmp.Or(runstate.Mode(c.GetMode()), runstate.Incremental)
	open, err := tx.RunLockOpen(ctx, integration.ID)
	if err == nil {
		if err := tx.RunFollowUp(ctx, string(mode), open.ID); err != nil {
			return nil, fmt.Errorf("remember the sync: %w", err)
		}
		return &reply{result: "queued-behind", run: &open.ID}, nil
	}
	if !postgres.NotFound(err) {
		return nil, fmt.Errorf("look for an open run: %w", err)
	}
	runs, err := s.open(ctx, tx, []*postgres.Integration{integration}, mode, runstate.Commanded, s.Now())
	if err != nil {
		return nil, err
	}
	if len(runs) == 0 {
		return nil, reject("a run was opened at this very moment; send the command again")
	}
	return &reply{result: "started", run: &runs[0].ID}, nil
}

func orNone(reason foreign.Text) foreign.Text {
	if reason == "" {
		return "no reason was given"
	}
	return reason
}
