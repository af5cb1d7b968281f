package scheduler_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/events"
)

// publish sends a command to the stream, whatever its subject is.
func (f *fixture) publish(t *testing.T, subject string, body []byte) {
	t.Helper()
	js, err := f.nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(subject, body); err != nil {
		t.Fatalf("publish %q: %v", subject, err)
	}
}

// commandsLeft is how many commands the stream holds.
func (f *fixture) commandsLeft(t *testing.T) uint64 {
	t.Helper()
	js, err := f.nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	info, err := js.StreamInfo(wire.StreamCommands)
	if err != nil {
		t.Fatal(err)
	}
	return info.State.Msgs
}

// TestOddCommandsAreAnswered sends commands whose subject is no text, no command or very long: each is answered by one
// event, and leaves the stream.
func TestOddCommandsAreAnswered(t *testing.T) {
	t.Parallel()
	f := start(t, shops())
	long := make([]byte, 3000)
	for i := range long {
		long[i] = 'x'
	}
	odd := []string{
		"tributary.commands.sync.\xff", "tributary.commands.\xff.a", "tributary.commands.sync.\x01\x1b[2J", "tributary.commands.sync",
		"tributary.commands.sync.a.b.c", "tributary.commands.nothing.a", "tributary.commands.sync." + string(long),
	}
	for _, subject := range odd {
		f.publish(t, subject, []byte("\xff"))
	}
	for range odd {
		body := f.event(t, events.CommandRejected)
		reason, _ := body["reason"].(string)
		integration, _ := body["integration"].(string)
		if reason == "" || len(reason) > 1000 || len(integration) > 200 {
			t.Errorf("the answer is not bounded: %d bytes of reason, %d of integration", len(reason), len(integration))
		}
	}
	await(t, "an empty stream", func() bool { return f.commandsLeft(t) == 0 })
}

// TestReasonsOfRejectionsAreBounded sends a command that is refused with its own long text.
func TestReasonsOfRejectionsAreBounded(t *testing.T) {
	t.Parallel()
	f := start(t, shops())
	created := f.mustCreate(t, newShop("one"))
	item := make([]byte, 100_000)
	for i := range item {
		item[i] = 'x'
	}
	body, err := json.Marshal(map[string]string{"item": string(item)})
	if err != nil {
		t.Fatal(err)
	}
	f.publish(t, events.CommandSubject(events.VerbRetry, created.ID), body)
	reason, _ := f.event(t, events.CommandRejected)["reason"].(string)
	if reason == "" || len(reason) > 1000 || !utf8.ValidString(reason) {
		t.Errorf("the reason has %d bytes, want 1000 at most", len(reason))
	}
}

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
			d := &bus.Delivery{Subject: events.CommandSubject(events.VerbPause, "nobody"), Header: nats.Header{}, Sequence: 7}
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
	_, err = pool.Exec(t.Context(), "alter table outbox add constraint none check (subject not like '%command-accepted%')")
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
	if n := s.counted("pause", "rejected"); n != 1 {
		t.Errorf("%v commands count as rejected, want 1", n)
	}
}

// TestRejectedCommandsCountOnce delivers commands that are refused: one with a verb that there is, two with others.
func TestRejectedCommandsCountOnce(t *testing.T) {
	t.Parallel()
	s := takesCommands(t, pgtest.DB(t), 0, time.Now)
	for i, verb := range []events.Verb{events.VerbPause, "dance", "sing"} {
		d := &bus.Delivery{Subject: events.CommandSubject(verb, "nobody"), Header: nats.Header{}, Sequence: uint64(i + 1), Count: 1}
		if err := s.Take(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	pause, unknown := s.counted("pause", "rejected"), s.counted("unknown", "rejected")
	if pause != 1 || unknown != 2 {
		t.Errorf("%v are counted of pause and %v of unknown verbs, want 1 and 2", pause, unknown)
	}
}
