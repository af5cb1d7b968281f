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

// maxCommandFailures is the number of failures after which a command is rejected. That Postgres is away or a row is
// locked does not count as a failure.
const maxCommandFailures = 5

// lockedAgain is how long a command that comes again waits for a lock. It has a slot meanwhile: those of many locked
// integrations leave the slots to others.
const lockedAgain = 500 * time.Millisecond

// maxLockRests bounds the rest of a command whose integration is locked, in multiples of LockWait. While a command
// rests, it takes no slot from commands of other integrations.
const maxLockRests = 12

// maxRejectedBody bounds the body of the command in the event command-rejected.
const maxRejectedBody = 1 << 10

// errUnanswerable means that a command can't be carried out, and that the event command-rejected can't be written.
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
	// The time is part of the id because a stream that is made anew uses the same sequences again.
	id := fmt.Sprintf("%s/%d/%d", wire.StreamCommands, d.Sequence, d.Stored.UnixNano())
	bound := s.Bus.Timing().LagBound
	if bound > 0 && d.Count > 1 {
		if done, err := s.lookLate(ctx, id, bound); done || err != nil {
			return err
		}
	}
	err := s.handle(ctx, d, id)
	if errors.Is(err, errUnanswerable) {
		s.Log.Warn(
			"a command is dropped, for it can be neither carried out nor answered", "subject", foreign.Line(d.Subject),
			"error", err,
		)
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

// lookLate looks in Postgres for a command that was carried out or rejected. If done, the error is the decision about
// the message of [bus.AckAfter].
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

// handle carries out a command, or answers it with the event command-rejected.
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
		s.Log.Warn(
			"a command waits for what another transaction has locked", "verb", verb, "integration", integration,
			"delivery", d.Count, "again_in", rest,
		)
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

// inTurn carries out a command after the earlier ones of the same integration.
func (s *Stream) inTurn(
	ctx context.Context, d *bus.Delivery, verb events.Verb, name string, c *eventsv1.Command, id string,
) error {
	release, err := s.turns.acquire(d, name)
	if err != nil {
		return err
	}
	defer release()
	wait := s.Settings.LockWait
	if d.Count > 1 {
		wait = min(wait, lockedAgain)
	}
	_, _, err = s.Do(postgres.BoundLocks(ctx, wait), verb, name, c, id)
	return err
}

// tellRejected writes the event command-rejected. After maxCommandFailures failures of that, Postgres being away not
// counted, the error is [errUnanswerable].
func (s *Stream) tellRejected(ctx context.Context, d *bus.Delivery, id, verb, integration string, why error) error {
	rejected := &eventsv1.CommandRejected{
		Integration: foreign.Word(integration).String(), Verb: foreign.Word(verb).String(),
		Reason: foreign.Of(why).String(),
		Body:   d.Body[:min(len(d.Body), maxRejectedBody)],
	}
	s.Metrics.count(verb, "rejected")
	s.Log.Warn(
		"command rejected", "verb", rejected.GetVerb(), "integration", rejected.GetIntegration(), "reason",
		rejected.GetReason(),
	)
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
