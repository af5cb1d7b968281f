package scheduler_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// lock has a transaction lock the rows of a query until free is called.
func (s *stage) lock(t *testing.T, sql string, args ...any) (free func()) {
	t.Helper()
	tx, err := s.pool.Begin(t.Context())
	if err == nil {
		_, err = tx.Exec(t.Context(), sql, args...)
	}
	if err != nil {
		t.Fatal(err)
	}
	free = sync.OnceFunc(func() { _ = tx.Rollback(context.Background()) })
	t.Cleanup(free)
	return free
}

func (s *stage) awaitStatus(t *testing.T, status string, integrations ...uuid.UUID) {
	t.Helper()
	for _, id := range integrations {
		await(t, "an integration to be "+status, func() bool {
			row, err := s.Store.IntegrationGet(t.Context(), id)
			return err == nil && row.Status == status
		})
	}
}

// safeLog is a buffer that services may write to while the test reads it.
type safeLog struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *safeLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *safeLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

const lockIntegrations = "select 1 from integrations where id = any($1) for no key update"

// TestLockedIntegrationsLeaveCommandsToOthers locks more integrations than there are slots for commands. The command of
// another one is carried out meanwhile, theirs when they are free.
func TestLockedIntegrationsLeaveCommandsToOthers(t *testing.T) {
	t.Parallel()
	log := &safeLog{}
	s := newStage(t, func(c *platform.Config) {
		c.Control.Commands.LockWait = 100 * time.Millisecond
		c.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	})
	var locked []uuid.UUID
	for range 5 {
		locked = append(locked, s.integration(t, "ledger", ""))
	}
	other := s.integration(t, "ledger", "")
	free := s.lock(t, lockIntegrations, locked)
	for _, id := range locked {
		s.publish(t, events.CommandSubject(events.VerbPause, id.String()), nil)
	}
	await(t, "a warning", func() bool {
		return strings.Contains(log.String(), "a command waits for what another transaction has locked")
	})
	s.publish(t, events.CommandSubject(events.VerbPause, other.String()), nil)
	s.awaitStatus(t, "paused", other)
	_, err := s.Command(t.Context(), events.VerbPause, &eventsv1.Command{Integration: locked[0].String()})
	wantCode(t, err, api.Unavailable, "")
	free()
	s.awaitStatus(t, "paused", locked...)
	await(t, "an empty stream", func() bool { return s.commandsLeft(t) == 0 })
}

// TestCommandsOfOneIntegrationHoldOneSlot sends many commands for an integration that stays locked: those of another
// one need not wait until it is given up.
func TestCommandsOfOneIntegrationHoldOneSlot(t *testing.T) {
	t.Parallel()
	s := newStage(t, func(c *platform.Config) { c.Control.Commands.LockWait = time.Hour })
	locked, other := s.integration(t, "ledger", ""), s.integration(t, "ledger", "")
	free := s.lock(t, lockIntegrations, []uuid.UUID{locked})
	pause, resume := events.CommandSubject(events.VerbPause, locked.String()), events.CommandSubject(events.VerbResume, locked.String())
	for range 10 {
		s.publish(t, pause, nil)
		s.publish(t, resume, nil)
	}
	s.publish(t, events.CommandSubject(events.VerbPause, other.String()), nil)
	s.awaitStatus(t, "paused", other)
	free()
	await(t, "an empty stream", func() bool { return s.commandsLeft(t) == 0 })
	s.awaitEvents(t, events.CommandAccepted, locked, 20)
}

// TestTooManyCommandsOfOneIntegrationAreHandedBack sends more than a process keeps in memory for an integration that is
// locked.
func TestTooManyCommandsOfOneIntegrationAreHandedBack(t *testing.T) {
	t.Parallel()
	s := newStage(t, func(c *platform.Config) { c.Control.Commands.LockWait = time.Hour })
	id := s.integration(t, "ledger", "")
	free := s.lock(t, lockIntegrations, []uuid.UUID{id})
	for range 70 {
		s.publish(t, events.CommandSubject(events.VerbPause, id.String()), nil)
	}
	js, err := s.nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	await(t, "commands to be delivered again", func() bool {
		info, err := js.ConsumerInfo(wire.StreamCommands, "scheduler")
		return err == nil && info.NumRedelivered > 0 && info.NumPending == 0
	})
	free()
	await(t, "an empty stream", func() bool { return s.commandsLeft(t) == 0 })
	s.awaitEvents(t, events.CommandAccepted, id, 70)
}
