package syncer_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// returns hands an item over and returns an error.
func returns(err error) enumeration {
	return func(ctx context.Context, session contracts.SyncSession, method string) error {
		return errors.Join(dispatches("a")(ctx, session, method), err)
	}
}

// TestEnumerationsThatGiveUp write a total that says why, so that what they handed over is worked off.
func TestEnumerationsThatGiveUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, asIs)
	for name, tt := range map[string]struct {
		columns string
		err     error
		want    string
		calls   int
	}{
		"permanent": {err: contracts.Permanent(errors.New("no such shop")), want: "no such shop", calls: 1},
		"last try":  {columns: "tries = 4", err: errors.New("broken"), want: "broken", calls: 1},
		"no try left": {
			columns: "tries = 5, attempts = 5, error = 'it was ill'", want: "did not survive 5 tries: it was ill",
		},
		"window over": {
			columns: "attempts = 1, window_from = now() - interval '7 hours', error = 'wait'", want: "waited too long: not enumerated within 6h0m0s: wait",
		},
		"window over before its next": {
			columns: "attempts = 1, window_from = now() - interval '350 minutes'", err: contracts.RetryAfter(20*time.Minute, errors.New("ask later")), want: "waited too long: its next", calls: 1,
		},
		"a secret": {err: contracts.Permanent(errors.New("refused " + token)), want: "refused [REDACTED]", calls: 1},
	} {
		t.Run(name, func(t *testing.T) {
			run := w.open(t, returns(tt.err))
			if tt.columns != "" {
				w.set(t, run, tt.columns)
			}
			run = w.enumerate(t, run)
			total := w.total(t, run)
			if !strings.Contains(total.GetError(), tt.want) || total.GetItems() != int64(tt.calls) || total.GetBatches() != int32(tt.calls) {
				t.Errorf("the total is %v, want the error %q", total, tt.want)
			}
			if run.State != "working" || !strings.Contains(run.Error.String(), tt.want) || w.called(run) != tt.calls {
				t.Errorf("the run is %s with the error %q after %d calls", run.State, run.Error, w.called(run))
			}
		})
	}
}

// TestAnEnumerationThatIsStoppedCountsWhatIsOnItsWay has a provider fall silent on its last try, with a batch that is
// not full: the total leaves that out, or the run would wait for it for ever.
func TestAnEnumerationThatIsStoppedCountsWhatIsOnItsWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *platform.Config) {
		c.Syncer.Silence, c.Syncer.Grace, c.Syncer.Linger, c.Syncer.BatchItems = time.Second, 100*time.Millisecond, time.Hour, 2
	})
	run := w.open(t, func(ctx context.Context, session contracts.SyncSession, method string) error {
		err := dispatches("a", "b", "c")(ctx, session, method)
		<-ctx.Done()
		return err
	})
	w.set(t, run, "tries = 4")
	run = w.enumerate(t, run)
	if total := w.total(t, run); total.GetItems() != 2 || total.GetBatches() != 1 || !strings.Contains(total.GetError(), "neither handed an item over nor returned") {
		t.Errorf("the total is %v, want the two items of the batch that was full", total)
	}
}

// TestEnumerationsThatAreTriedAgain wait for as long as they should, and only failures take a try.
func TestEnumerationsThatAreTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, asIs)
	for name, tt := range map[string]struct {
		columns          string
		play             enumeration
		wait             time.Duration
		tries, deferrals int32
		waitsFor, want   string
	}{
		"first failure": {play: returns(errors.New("broken")), wait: 10 * time.Second, tries: 1, want: "broken"},
		"third failure": {columns: "tries = 2, deferrals = 3", play: returns(errors.New("broken")), wait: 2 * time.Minute, tries: 3, want: "broken"},
		// The provider has a Postgres of its own, which says nothing about ours.
		"its database is away": {play: returns(&pgconn.PgError{Code: "57P01", Message: "shutting down"}), wait: 10 * time.Second, tries: 1, want: "shutting down"},
		"a panic": {
			play: func(context.Context, contracts.SyncSession, string) error { panic("at the upstream") },
			wait: 10 * time.Second, tries: 1, want: "panicked: at the upstream",
		},
		"a deferral": {
			columns: "tries = 3", play: returns(contracts.RetryAfter(20*time.Minute, contracts.ErrBudgetExhausted)), wait: 20 * time.Minute, tries: 3, deferrals: 1, waitsFor: "budget",
			want: "budget",
		},
	} {
		t.Run(name, func(t *testing.T) {
			run := w.open(t, tt.play)
			if tt.columns != "" {
				w.set(t, run, tt.columns)
			}
			began := time.Now()
			run = w.enumerate(t, run)
			if run.State != "waiting" || run.Tries != tt.tries || run.Deferrals != tt.deferrals || run.WaitingFor != tt.waitsFor || !strings.Contains(run.Error.String(), tt.want) {
				t.Errorf("the run is %s for %q (%s) after %d tries and %d deferrals", run.State, run.WaitingFor, run.Error, run.Tries, run.Deferrals)
			}
			if at := run.WaitingUntil; at == nil || at.Before(began.Add(tt.wait-time.Second)) || at.After(time.Now().Add(tt.wait+time.Second)) {
				t.Errorf("the run waits until %v, want %s", at, tt.wait)
			}
			if total := w.total(t, run); total != nil {
				t.Errorf("a run that is tried again has the total %v", total)
			}
			var told int
			subject := events.EventSubject(events.RunWaiting, "feed", run.IntegrationID.String())
			if err := w.pool.QueryRow(t.Context(), "select count(*) from outbox where subject = $1", subject).Scan(&told); err != nil || told != 1 {
				t.Errorf("%d events tell that the run waits, %v", told, err)
			}
		})
	}
}

// TestAnEnumerationThatIsNotWantedAnyMore stops at its next batch: when the run has begun another attempt, and when the integration is paused.
func TestAnEnumerationThatIsNotWantedAnyMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *platform.Config) { patientLinger(c); c.Syncer.BatchItems = 1 })
	for name, tt := range map[string]struct {
		change string
		check  func(run *postgres.Run) bool
	}{
		"a newer attempt": {
			change: "update sync_runs set attempt = attempt + 1 where integration_id = $1",
			check:  func(run *postgres.Run) bool { return run.State == "enumerating" },
		},
		"cancelled": {
			change: "update sync_runs set state = 'cancelled', closed_at = now() where integration_id = $1",
			check:  func(run *postgres.Run) bool { return run.State == "cancelled" },
		},
		"paused": {
			change: "update integrations set status = 'paused' where id = $1",
			check: func(run *postgres.Run) bool {
				return run.State == "waiting" && run.WaitingFor == "pause" && run.WaitingUntil == nil && run.Tries == 0
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			changed := make(chan struct{})
			run := w.open(t, func(ctx context.Context, session contracts.SyncSession, method string) error {
				if err := dispatches("a")(ctx, session, method); err != nil {
					return err
				}
				<-changed
				if err := dispatches("b")(ctx, session, method); err != nil {
					return err
				}
				<-ctx.Done()
				return ctx.Err()
			})
			w.due(t, run, run.Wake)
			await(t, "the first batch", func() bool { return len(w.batches(t, run)) == 1 })
			w.exec(t, tt.change, run.IntegrationID)
			close(changed)
			w.awaitAck(t, run)
			run = w.run(t, run.ID)
			if !tt.check(run) {
				t.Errorf("the run is %s, waits for %q, and has %d tries", run.State, run.WaitingFor, run.Tries)
			}
			if got := w.batches(t, run); len(got) != 1 {
				t.Errorf("after the change a batch was published: %+v", got)
			}
			for attempt := run.Attempt - 1; attempt <= run.Attempt; attempt++ {
				if total, err := w.Checkpoints.ReadTotal(t.Context(), run.ID.String(), attempt); err != nil || total != nil {
					t.Errorf("attempt %d has the total %v, %v", attempt, total, err)
				}
			}
		})
	}
}

// TestTheEnumerationWaitsForWorkers has two items fail that were handed over, and then one of them be done: while a batch is not worked off, and while two items are to be
// tried again, nothing more is handed over.
func TestTheEnumerationWaitsForWorkers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *platform.Config) {
		patientLinger(c)
		c.Syncer.BatchItems, c.Syncer.Window, c.Syncer.Retrying = 2, 1, 2
	})
	const failing, free = 1, 2
	var phase atomic.Int32
	run := w.open(t, func(ctx context.Context, session contracts.SyncSession, method string) error {
		err := dispatches("a", "b", "c", "d")(ctx, session, method)
		if now := phase.Load(); now != free {
			t.Errorf("the second batch was handed over in phase %d", now)
		}
		return err
	})
	w.due(t, run, run.Wake)
	await(t, "the first batch", func() bool { return len(w.batches(t, run)) > 0 })
	run = w.run(t, run.ID)
	key := checkpoint.Key{Run: run.ID.String(), Attempt: run.Attempt, Index: checkpoint.First}
	merge := func(states ...eventsv1.OutcomeState) {
		t.Helper()
		entry := &eventsv1.Entry{Size: 2}
		for index, state := range states {
			entry.Outcomes = append(entry.Outcomes, &eventsv1.Outcome{Index: int32(index), State: state, Hop: 1})
		}
		if _, err := w.Checkpoints.Merge(t.Context(), key, entry); err != nil {
			t.Fatal(err)
		}
	}
	phase.Store(failing)
	merge(eventsv1.OutcomeState_OUTCOME_STATE_RETRYING, eventsv1.OutcomeState_OUTCOME_STATE_RETRYING)
	// As many questions as a syncer that did not wait would need to hand the next batch over.
	for range 50 {
		if got := len(w.batches(t, run)); got != 1 {
			t.Fatalf("%d batches are handed over while two items are to be tried again", got)
		}
	}
	phase.Store(free)
	merge(eventsv1.OutcomeState_OUTCOME_STATE_DONE)
	w.awaitAck(t, run)
	w.wantTotal(t, w.run(t, run.ID), 4, 2, 0)
}
