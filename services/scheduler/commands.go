package scheduler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// maxCommandDeliveries is after how many failures that are not the database's absence a command is given up.
const maxCommandDeliveries = 5

// maxRejectedBody is how much of a rejected command's body the event shows.
const maxRejectedBody = 1 << 10

// errUnanswerable means that a command can't be carried out, and that the event which would say so can't be published either.
var errUnanswerable = errors.New("the command can't be answered")

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

// takeCommand carries out a command of the stream. It is acknowledged when that is committed, and Postgres still has it after the lag bound.
func (s *Scheduler) takeCommand(ctx context.Context, d *bus.Delivery) error {
	// With the time, for a stream that was made anew gives its sequences out again.
	id := fmt.Sprintf("%s/%d/%d", events.StreamCommands, d.Sequence, d.Stored.UnixNano())
	bound := s.Bus.Timing().LagBound
	if bound > 0 && d.Count > 1 {
		if done, err := s.lookLate(ctx, id, bound); done || err != nil {
			return err
		}
	}
	err := s.handleCommand(ctx, d, id)
	if errors.Is(err, errUnanswerable) {
		s.Log.Warn("a command is dropped, for it can be neither carried out nor answered", "subject", foreign.Line(d.Subject), "error", err)
		return nil
	}
	if err != nil || bound == 0 {
		return err
	}
	done, err := s.lookLate(ctx, id, bound)
	if err == nil && !done {
		return bus.Again(connectRetry, "Postgres has forgotten the command")
	}
	return err
}

// lookLate looks for a command that was carried out or rejected. Done says that Postgres has it; then the error is what decides about the message, see [bus.AckAfter].
func (s *Scheduler) lookLate(ctx context.Context, id string, bound time.Duration) (done bool, err error) {
	at, err := s.Store.CommandDoneAt(ctx, []string{id, "rejected/" + id})
	switch {
	case postgres.NotFound(err):
		return false, nil
	case postgres.Unavailable(err):
		return false, bus.Again(connectRetry, err.Error())
	case err != nil:
		return false, fmt.Errorf("look for command %s: %w", id, err)
	}
	if err = bus.AckAfter(bound, at, s.Now()); err == nil {
		s.Crash("scheduler: command found late")
	}
	return true, err
}

// handleCommand carries out a command from the COMMANDS stream. A rejected one is answered by an event; nothing is dropped without a word.
func (s *Scheduler) handleCommand(ctx context.Context, d *bus.Delivery, id string) error {
	verb, integration, err := events.ParseCommandSubject(d.Subject)
	if err != nil {
		return s.tellRejected(ctx, d, id, "", d.Subject, err)
	}
	command, err := events.DecodeCommand(verb, d.Header.Get(events.HeaderContentType), d.Body)
	if err == nil {
		_, _, err = s.command(ctx, verb, integration, command, id)
	}
	var rejected *rejection
	if errors.Is(err, events.ErrCommand) || errors.As(err, &rejected) {
		return s.tellRejected(ctx, d, id, string(verb), integration, err)
	}
	if postgres.Unavailable(err) {
		return bus.Again(connectRetry, err.Error())
	}
	if err != nil && d.Count >= s.maxDeliveries() {
		return s.tellRejected(ctx, d, id, string(verb), integration, fmt.Errorf("it failed %d times: %w", d.Count, err))
	}
	return err
}

// maxDeliveries is [maxCommandDeliveries]; with a lag bound twice as many, for late looks are deliveries too.
func (s *Scheduler) maxDeliveries() uint64 {
	if s.Bus.Timing().LagBound > 0 {
		return 2 * maxCommandDeliveries
	}
	return maxCommandDeliveries
}

// command carries out one command and writes command-accepted, in one transaction. It does nothing, again, for an id that was carried out before; an
// empty id is always new. A refusal is a *rejection.
func (s *Scheduler) command(ctx context.Context, verb events.Verb, name string, c *eventsv1.Command, id string) (result, runID string, err error) {
	var done *reply
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
				return nil
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
		s.Metrics.command(string(verb), "rejected")
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
	mode := c.GetMode()
	if mode == "" {
		mode = "incremental"
	}
	open, err := tx.RunLockOpen(ctx, integration.ID)
	if err == nil {
		if err := tx.RunFollowUp(ctx, mode, open.ID); err != nil {
			return nil, fmt.Errorf("remember the sync: %w", err)
		}
		return &reply{result: "queued-behind", run: &open.ID}, nil
	}
	if !postgres.NotFound(err) {
		return nil, fmt.Errorf("look for an open run: %w", err)
	}
	runs, err := s.open(ctx, tx, []*postgres.Integration{integration}, mode, "command", s.Now())
	if err != nil {
		return nil, err
	}
	if len(runs) == 0 {
		return nil, reject("a run was opened at this very moment; send the command again")
	}
	return &reply{result: "started", run: &runs[0].ID}, nil
}

// tellRejected writes the event that answers a command which can't be carried out. An answer that fails for another reason than a store that is away is given up after as many
// deliveries again: the error is [errUnanswerable] then.
func (s *Scheduler) tellRejected(ctx context.Context, d *bus.Delivery, id, verb, integration string, why error) error {
	rejected := &eventsv1.CommandRejected{
		Integration: foreign.Word(integration).String(), Verb: foreign.Word(verb).String(), Reason: foreign.Of(why).String(),
		Body: d.Body[:min(len(d.Body), maxRejectedBody)],
	}
	s.Metrics.command(verb, "rejected")
	s.Log.Warn("command rejected", "verb", rejected.GetVerb(), "integration", rejected.GetIntegration(), "reason", rejected.GetReason())
	m, err := events.NewEvent(events.CommandRejected, "", "", "rejected/"+id, rejected)
	if err != nil {
		return fmt.Errorf("%w: %w", errUnanswerable, err)
	}
	err = s.Store.InTx(ctx, func(tx *postgres.Tx) error {
		first, err := tx.CommandDone(ctx, "rejected/"+id, s.Now())
		if err != nil || first == 0 {
			return err
		}
		return tx.Publish(ctx, s.Now(), postgres.Outgoing(m))
	})
	switch {
	case postgres.Unavailable(err):
		return bus.Again(connectRetry, err.Error())
	case err != nil && ctx.Err() == nil && d.Count >= 2*s.maxDeliveries():
		return fmt.Errorf("%w: %w", errUnanswerable, err)
	}
	return err
}

func orNone(reason foreign.Text) foreign.Text {
	if reason == "" {
		return "no reason was given"
	}
	return reason
}
