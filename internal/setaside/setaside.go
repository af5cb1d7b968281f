// Package setaside keeps one bad element of a list from holding up the others. A sweep runs its step for each element;
// one that fails is tried again later and later, and after a few tries it is set aside: counted, reported once by an
// event and a log line, and listed for operators, who retry or drop it. The scheduler uses it for the outbox and for
// the lists whose elements are runs and integrations of their own, the token-refresher for its lists of integrations,
// and the item-worker for what became of webhooks.
package setaside

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
)

// Settings are the numbers that failing work is tried by.
type Settings struct {
	// Tries is how many failures set an element aside.
	Tries int
	// Waits are the waits after each failure, the last one repeated. What is set aside is tried on by the same list.
	Waits []time.Duration
	// Step is how long one step may take.
	Step time.Duration
	// Forget is how long after its next try an element is kept that no list has any more.
	Forget time.Duration
}

// DefaultSettings set an element aside after about a minute, and try it at least once an hour from there on.
func DefaultSettings() Settings {
	return Settings{
		Tries: 4, Step: 2 * time.Minute, Forget: 2 * time.Hour,
		Waits: []time.Duration{2 * time.Second, 10 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour},
	}
}

// Set is the work that fails. It is safe for concurrent use, and any number of processes share what is set aside.
type Set struct {
	Store   *postgres.Store
	Log     *slog.Logger
	Metrics *Metrics
	Now     func() time.Time
	// Ready returns an error while a store that steps of a kind need can't be reached. A step that fails meanwhile is
	// not blamed for it.
	Ready    func(ctx context.Context, kind Kind) error
	Settings Settings
}

// ErrLeft is returned by a step that left its element as it is: this says neither that it can be done nor that it can't.
var ErrLeft = errors.New("the element is left as it is")

// Element names one piece of work.
type Element struct {
	// Key tells it from the others of its kind.
	Key string
	// Integration is the integration that it belongs to, if any.
	Integration uuid.UUID
	// About is what people know it by, if that says more than the key.
	About string
}

// Of is the element that is a thing of an integration.
func Of(id, integration uuid.UUID) Element {
	return Element{Key: id.String(), Integration: integration}
}

// try bounds a step, and returns its panic as an error.
func (s *Set) try(ctx context.Context, kind Kind, step func(context.Context) error) error {
	left := false
	err := postgres.Within(ctx, s.Settings.Step, func(ctx context.Context) error {
		err := panics.Try(string(kind), func() error { return step(ctx) })
		left = errors.Is(err, ErrLeft)
		return err
	})
	if left {
		return ErrLeft
	}
	return err
}

// Note counts a failure in a transaction of its own.
func (s *Set) Note(ctx context.Context, kind Kind, e Element, cause error) error {
	if postgres.Unavailable(cause) {
		// A deadlock, or an outage that is over by now: the next sweep has it again.
		return fmt.Errorf("%s %s: %w", kind, e.Key, cause)
	}
	var told func()
	err := s.Store.InTx(ctx, func(tx *postgres.Tx) (err error) {
		told, err = s.Fail(ctx, tx, kind, e, cause)
		return err
	})
	if err == nil {
		told()
	}
	return err
}

// Known are the elements of one kind that have failed, by key.
type Known map[string]*dbsqlc.SetAside

// Waits reports whether an element is not to be tried yet, or no more.
func (k Known) Waits(key string, now time.Time) bool {
	row := k[key]
	return row != nil && (row.DroppedAt != nil || now.Before(row.NextTryAt))
}

// Load reads which elements of a kind have failed.
func (s *Set) Load(ctx context.Context, kind Kind) (Known, error) {
	rows, err := s.Store.SetAsideOfKind(ctx, string(kind))
	if err != nil {
		return nil, fmt.Errorf("read what is set aside of %s: %w", kind, err)
	}
	known := make(Known, len(rows))
	for _, row := range rows {
		known[row.Key] = row
	}
	return known, nil
}

// Fail counts a failed try in the caller's transaction, and writes the event when it sets the element aside. The caller calls told once it has committed.
func (s *Set) Fail(ctx context.Context, tx *postgres.Tx, kind Kind, e Element, cause error) (told func(), err error) {
	row, begins, err := s.count(ctx, tx, kind, e, cause, s.Settings.Waits)
	if err != nil || row == nil {
		return func() {}, err
	}
	return func() { s.tell(row, cause, begins) }, nil
}

// Begin counts a try of what may end the process, before it is made; [Set.NoteDone] has to follow, whatever it comes to.
// A try that nothing followed has ended its process, for the cause. It returns nil for half of the time that a step may
// take, in which another process may be at it, and for what was dropped.
func (s *Set) Begin(ctx context.Context, kind Kind, e Element, cause error) (row *dbsqlc.SetAside, err error) {
	begins := false
	err = s.Store.InTx(ctx, func(tx *postgres.Tx) error {
		row, begins, err = s.count(ctx, tx, kind, e, cause, []time.Duration{s.Settings.Step / 2})
		return err
	})
	if err != nil {
		return nil, err
	}
	if begins {
		s.tell(row, cause, begins)
	}
	return row, nil
}

// IsGivenUp reports whether a try that [Set.Begin] has counted is not to be made, and none after it: an operator does not
// want it, or all tries have ended their processes.
func (s *Set) IsGivenUp(row *dbsqlc.SetAside) bool {
	return row != nil && (row.DroppedAt != nil || int(row.Tries) >= s.Settings.Tries)
}

// count counts a try. It returns no row when another process has counted it, and whether the element is set aside by it.
func (s *Set) count(ctx context.Context, tx *postgres.Tx, kind Kind, e Element, cause error, waits []time.Duration) (row *dbsqlc.SetAside, begins bool, err error) {
	now := s.Now()
	row, err = tx.SetAsideFail(ctx, dbsqlc.SetAsideFailParams{
		ID: postgres.NewID(), Kind: string(kind), Key: e.Key, IntegrationID: orNil(e.Integration), About: foreign.Clean(e.About, foreign.MaxError).String(), Error: foreign.Of(cause),
		Now: now, Waits: waits, MostTries: int32(s.Settings.Tries),
	})
	if postgres.NotFound(err) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("note a try of %s %s: %w", kind, e.Key, err)
	}
	if begins = row.SetAsideAt != nil && int(row.Tries) == s.Settings.Tries; begins {
		err = publishSetAside(ctx, tx, row, now)
	}
	return row, begins, err
}

func (s *Set) tell(row *dbsqlc.SetAside, cause error, begins bool) {
	s.Metrics.failed(Kind(row.Kind))
	attributes := []any{"kind", row.Kind, "key", row.Key, "about", row.About, "tries", row.Tries, "next", row.NextTryAt, "error", cause}
	panics.Report(s.Log, cause, "kind", row.Kind, "key", row.Key)
	switch {
	case begins:
		s.Log.Error("work is set aside, and the rest goes on; see: tributary outbox list", append(attributes, "id", row.ID)...)
	case int(row.Tries) < s.Settings.Tries:
		s.Log.Warn("work failed, to be tried again", attributes...)
	default:
		s.Log.Debug("work that is set aside failed again", attributes...)
	}
}

// NoteDone forgets an element that was done after all, in a transaction of its own.
func (s *Set) NoteDone(ctx context.Context, kind Kind, e Element) error {
	return s.Store.InTx(ctx, func(tx *postgres.Tx) error { return s.Done(ctx, tx, kind, e.Key) })
}

// Done forgets, in the caller's transaction, an element that was done after all, and says so if it was set aside.
func (s *Set) Done(ctx context.Context, tx *postgres.Tx, kind Kind, key string) error {
	row, err := tx.SetAsideDone(ctx, string(kind), key)
	if postgres.NotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("note that %s %s was done: %w", kind, key, err)
	}
	return s.settled(ctx, tx, row, settlement{outcome: "done"})
}

// Forget drops what no list has any more, and what was dropped before a time.
func (s *Set) Forget(ctx context.Context, droppedBefore time.Time) error {
	return s.Store.InTx(ctx, func(tx *postgres.Tx) error {
		rows, err := tx.SetAsideForget(ctx, s.Now().Add(-s.Settings.Forget), droppedBefore)
		if err != nil {
			return fmt.Errorf("forget what is set aside no more: %w", err)
		}
		for _, row := range rows {
			if row.DroppedAt != nil {
				continue
			}
			if err := s.settled(ctx, tx, row, settlement{outcome: "gone"}); err != nil {
				return err
			}
		}
		return nil
	})
}

func orNil(id uuid.UUID) *uuid.UUID {
	if id == uuid.Nil {
		return nil
	}
	return &id
}
