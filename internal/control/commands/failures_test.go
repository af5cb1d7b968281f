package commands_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/pkg/events"
)

// TestUnanswerableCommandsAreDropped has Postgres refuse every answer to a command: after some failures it is
// acknowledged, but not by a process that is stopping.
func TestUnanswerableCommandsAreDropped(t *testing.T) {
	t.Parallel()
	const most = 5
	for name, bound := range map[string]time.Duration{"at once": 0, "with a lag bound": time.Minute} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := pgtest.DB(t)
			s := takesCommands(t, pool, bound, time.Now)
			_, err := pool.Exec(t.Context(), "alter table outbox add constraint none check (subject not like '%command-rejected%')")
			if err != nil {
				t.Fatal(err)
			}
			d := &bus.Delivery{
				Subject: events.CommandSubject(events.VerbPause, "nobody"), Header: nats.Header{},
				Sequence: 7,
			}
			for d.Count = 1; d.Count < most; d.Count++ {
				if err := s.Take(t.Context(), d); err == nil {
					t.Fatalf("the command is acknowledged at delivery %d, want it to be tried %d times", d.Count, most)
				}
			}
			stopped, stop := context.WithCancel(t.Context())
			stop()
			if err := s.Take(stopped, d); err == nil {
				t.Error("the command is acknowledged by a process that is stopping")
			}
			if err := s.Take(t.Context(), d); err != nil {
				t.Errorf("after %d deliveries: %v, want it to be acknowledged", d.Count, err)
			}
		})
	}
}

// TestDeliveriesAreNoFailures delivers a command many times that waits for a lock, and then fails for another reason:
// it has all its tries, and is rejected after the last.
func TestDeliveriesAreNoFailures(t *testing.T) {
	t.Parallel()
	pool := pgtest.DB(t)
	s := takesCommands(t, pool, 0, time.Now)
	s.Settings.LockWait = time.Millisecond
	tx, err := pool.Begin(t.Context())
	if err == nil {
		_, err = tx.Exec(t.Context(), "select 1 from integrations for no key update")
	}
	if err != nil {
		t.Fatal(err)
	}
	d := &bus.Delivery{Subject: events.CommandSubject(events.VerbPause, "one"), Header: nats.Header{}, Sequence: 7}
	for d.Count = 1; d.Count <= 20; d.Count++ {
		if _, ok := errors.AsType[*bus.HandBack](s.Take(t.Context(), d)); !ok {
			t.Fatalf("delivery %d does not rest", d.Count)
		}
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Settings.LockWait = time.Minute
	_, err = pool.Exec(t.Context(), "alter table outbox add constraint none check (subject not like "+
		"'%command-accepted%')")
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n < 5; n++ {
		if err := s.Take(t.Context(), d); err == nil {
			t.Fatalf("the command is given up after %d failures", n)
		}
	}
	if err := s.Take(t.Context(), d); err != nil {
		t.Errorf("after five failures: %v, want the command to be rejected", err)
	}
	if n := s.rejected("pause"); n != 1 {
		t.Errorf("%v commands count as rejected, want 1", n)
	}
}

// TestRejectedCommandsCountOnce delivers commands that are refused: one with a verb that there is, two with others.
func TestRejectedCommandsCountOnce(t *testing.T) {
	t.Parallel()
	s := takesCommands(t, pgtest.DB(t), 0, time.Now)
	for i, verb := range []events.Verb{events.VerbPause, "dance", "sing"} {
		d := &bus.Delivery{
			Subject: events.CommandSubject(verb, "nobody"), Header: nats.Header{},
			Sequence: uint64(i + 1), Count: 1,
		}
		if err := s.Take(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	pause, unknown := s.rejected("pause"), s.rejected("unknown")
	if pause != 1 || unknown != 2 {
		t.Errorf("%v are counted of pause and %v of unknown verbs, want 1 and 2", pause, unknown)
	}
}

// TestCommandsRestLongerWhileLocked delivers a command again and again while its integration is locked.
func TestCommandsRestLongerWhileLocked(t *testing.T) {
	t.Parallel()
	pool := pgtest.DB(t)
	s := takesCommands(t, pool, 0, time.Now)
	s.Settings.LockWait = 200 * time.Millisecond
	tx, err := pool.Begin(t.Context())
	if err == nil {
		_, err = tx.Exec(t.Context(), "select 1 from integrations for no key update")
	}
	if err != nil {
		t.Fatal(err)
	}
	d := &bus.Delivery{Subject: events.CommandSubject(events.VerbPause, "one"), Header: nats.Header{}, Sequence: 7}
	for count, want := range map[uint64]time.Duration{
		1: 200 * time.Millisecond, 3: 600 * time.Millisecond,
		1000: 2400 * time.Millisecond,
	} {
		d.Count = count
		err := s.Take(t.Context(), d)
		if handBack, ok := errors.AsType[*bus.HandBack](err); !ok || handBack.Delay != want {
			t.Errorf("delivery %d: %v, want it to rest %s", count, err, want)
		}
	}
	if n := s.rejected("pause"); n != 0 {
		t.Errorf("%v commands count as rejected, which only wait", n)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Take(t.Context(), d); err != nil {
		t.Errorf("once the lock is gone: %v", err)
	}
}

// TestCommandThatComesAgainLeavesItsSlotSoon delivers a command again while its integration is locked. Its first wait
// would not end in this test.
func TestCommandThatComesAgainLeavesItsSlotSoon(t *testing.T) {
	t.Parallel()
	pool := pgtest.DB(t)
	s := takesCommands(t, pool, 0, time.Now)
	s.Settings.LockWait = time.Hour
	tx, err := pool.Begin(t.Context())
	if err == nil {
		_, err = tx.Exec(t.Context(), "select 1 from integrations for no key update")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.Background()) }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err = s.Take(ctx, &bus.Delivery{
		Subject: events.CommandSubject(events.VerbPause, "one"), Header: nats.Header{}, Sequence: 7, Count: 2,
	})
	if handBack, ok := errors.AsType[*bus.HandBack](err); !ok || handBack.Delay != 2*time.Hour {
		t.Errorf("%v, want it to rest for two hours", err)
	}
}
