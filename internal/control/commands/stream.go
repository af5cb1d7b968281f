package commands

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// connectRetry is how long a command rests while the database is away.
const connectRetry = 2 * time.Second

// maxCommandFailures is after how many failures a command is given up. A database that is away, and a lock that is
// waited for in vain, are none.
const maxCommandFailures = 5

// maxLockRests is how many times as long as it waits for a lock a command rests at most before it tries again.
// The more commands rest, the more integrations may be locked before their commands take all slots.
const maxLockRests = 12

// maxRejectedBody is how much of a rejected command's body the event shows.
const maxRejectedBody = 1 << 10

// errUnanswerable means that a command can't be carried out, and that the event which would say so can't be published
// either.
var errUnanswerable = errors.New("the command can't be answered")

// Stream takes commands from the stream COMMANDS.
type Stream struct {
	*Executor
	turns    turns
	failures failures
}

// NewStream returns what takes the commands of the stream, to be carried out by an executor.
func NewStream(executor *Executor) *Stream {
	return &Stream{Executor: executor, turns: turns{all: map[string]*turn{}}}
}

// Run carries out the commands of the stream until ctx ends.
func (s *Stream) Run(ctx context.Context) error {
	return s.Bus.Consume(ctx, bus.Consumption{
		Stream: wire.StreamCommands, Consumer: wire.CommandsConsumer(s.Bus.Timing()),
		Slots: 4, Grace: s.Settings.Grace, Hold: s.Store.Ready, Handle: s.Take,
	})
}

// Take carries out a command of the stream. Its message is acknowledged when that is committed, and Postgres still has
// it after the lag bound.
func (s *Stream) Take(ctx context.Context, d *bus.Delivery) error {
	// With the time, for a stream that was made anew gives its sequences out again.
	id := fmt.Sprintf("%s/%d/%d", wire.StreamCommands, d.Sequence, d.Stored.UnixNano())
	bound := s.Bus.Timing().LagBound
	if bound > 0 && d.Count > 1 {
		if done, err := s.lookLate(ctx, id, bound); done || err != nil {
			return err
		}
	}
	err := s.handle(ctx, d, id)
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

// lookLate looks for a command that was carried out or rejected. Done says that Postgres has it; then the error is what
// decides about the message, see [bus.AckAfter].
func (s *Stream) lookLate(ctx context.Context, id string, bound time.Duration) (done bool, err error) {
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

// handle carries out a command from the COMMANDS stream. A rejected one is answered by an event; nothing is
// dropped without a word.
func (s *Stream) handle(ctx context.Context, d *bus.Delivery, id string) error {
	verb, integration, err := events.ParseCommandSubject(d.Subject)
	if err != nil {
		return s.tellRejected(ctx, d, id, "", d.Subject, err)
	}
	command, err := events.DecodeCommand(verb, d.Header.Get(events.HeaderContentType), d.Body)
	if err == nil {
		err = s.inTurn(ctx, d, verb, integration, command, id)
	}
	var rejected *Rejection
	if errors.Is(err, events.ErrCommand) || errors.As(err, &rejected) {
		return s.tellRejected(ctx, d, id, string(verb), integration, err)
	}
	if postgres.Unavailable(err) {
		return bus.Again(connectRetry, err.Error())
	}
	if postgres.Locked(err) {
		rest := s.Settings.LockWait * time.Duration(min(d.Count, maxLockRests))
		s.Log.Warn("a command waits for what another transaction has locked", "verb", verb, "integration", integration, "delivery", d.Count, "again_in", rest)
		return bus.Again(rest, err.Error())
	}
	if handBack, ok := errors.AsType[*bus.HandBack](err); ok {
		return handBack
	}
	if err == nil {
		s.failures.forget(id)
		return nil
	}
	if ctx.Err() != nil {
		return err
	}
	if n := s.failures.add(id); n >= maxCommandFailures {
		return s.tellRejected(ctx, d, id, string(verb), integration, fmt.Errorf("it failed %d times: %w", n, err))
	}
	return err
}

// inTurn carries out a command when those of the same integration that came before it are done.
func (s *Stream) inTurn(ctx context.Context, d *bus.Delivery, verb events.Verb, name string, c *eventsv1.Command, id string) error {
	release, err := s.turns.acquire(d, name)
	if err != nil {
		return err
	}
	defer release()
	_, _, err = s.Do(ctx, verb, name, c, id)
	return err
}

// tellRejected writes the event that answers a command which can't be carried out. An answer that fails for another
// reason than a store that is away is given up after as many failures again: the error is [errUnanswerable] then.
func (s *Stream) tellRejected(ctx context.Context, d *bus.Delivery, id, verb, integration string, why error) error {
	rejected := &eventsv1.CommandRejected{
		Integration: foreign.Word(integration).String(), Verb: foreign.Word(verb).String(), Reason: foreign.Of(why).String(),
		Body: d.Body[:min(len(d.Body), maxRejectedBody)],
	}
	s.Metrics.count(verb, "rejected")
	s.Log.Warn("command rejected", "verb", rejected.GetVerb(), "integration", rejected.GetIntegration(), "reason", rejected.GetReason())
	m, err := wire.NewEvent(events.CommandRejected, "", "", "rejected/"+id, rejected)
	if err != nil {
		return fmt.Errorf("%w: %w", errUnanswerable, err)
	}
	err = s.Store.InTx(ctx, func(tx *postgres.Tx) error {
		first, err := tx.CommandDone(ctx, "rejected/"+id, s.Now())
		if err != nil {
			return err
		}
		if first == 0 {
			return tx.Barrier(ctx)
		}
		return tx.Publish(ctx, s.Now(), postgres.Outgoing(m))
	})
	switch {
	case postgres.Unavailable(err):
		return bus.Again(connectRetry, err.Error())
	case err == nil:
		s.failures.forget(id)
	case ctx.Err() == nil && s.failures.add("rejected/"+id) >= maxCommandFailures:
		return fmt.Errorf("%w: %w", errUnanswerable, err)
	}
	return err
}
