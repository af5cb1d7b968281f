package runs

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributaryhq/tributary/internal/announce"
	"github.com/tributaryhq/tributary/internal/deferral"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/health"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// Begin raises the attempt of a run that is due, or whose syncer is gone, and counts a try. The dead items of older
// attempts are superseded. It returns nil if the run has changed since it was read.
func (s *Store) Begin(ctx context.Context, run *postgres.Run) (started *postgres.Run, err error) {
	err = s.Postgres.InTx(ctx, func(tx *postgres.Tx) error {
		started, err = tx.RunStartAttempt(ctx, dbsqlc.RunStartAttemptParams{
			ID: run.ID, Attempt: run.Attempt,
			Now: s.Now(),
		})
		if postgres.NotFound(err) {
			started = nil
			return nil
		}
		if err != nil {
			return fmt.Errorf("start an attempt of run %s: %w", run.ID, err)
		}
		_, err = tx.DeadSupersedeAttempts(ctx, dbsqlc.DeadSupersedeAttemptsParams{
			RunID:   run.ID,
			Attempt: started.Attempt, Now: s.Now(),
		})
		return err
	})
	return started, err
}

// Enumerated notes the total of an attempt: every item is on its way. Its caller has written the total to the bucket.
func (s *Store) Enumerated(ctx context.Context, run *postgres.Run, total *eventsv1.Total) error {
	_, err := s.Postgres.RunWorking(ctx, dbsqlc.RunWorkingParams{
		ID: run.ID, Attempt: run.Attempt, Items: total.GetItems(), Duplicates: total.GetDuplicates(),
		Error: foreign.Line(cmp.Or(total.GetError(), total.GetNote())), Now: s.Now(),
	})
	if err != nil {
		return fmt.Errorf("note the total of run %s: %w", run.ID, err)
	}
	return nil
}

// Pause is why and until when an enumeration waits.
type Pause struct {
	// Until is zero for a run that waits for its integration to be resumed.
	Until time.Time
	// Asked is until when it was asked to wait, if that is longer than any wait may be.
	Asked time.Time
	Why   foreign.Text
	Cause deferral.Cause
	// GiveBack says that the enumeration takes no try.
	GiveBack bool
}

// Wait puts the run off. The event run-waiting tells of it, unless the run waits for a resume or because the syncer
// stops.
func (s *Store) Wait(ctx context.Context, run *postgres.Run, pause Pause) error {
	now := s.Now()
	p := dbsqlc.RunWaitParams{
		ID: run.ID, Attempt: run.Attempt, WaitingUntil: pause.until(), WaitingFor: string(pause.Cause),
		Error: pause.Why, Now: now,
	}
	if pause.GiveBack {
		p.GiveBack = 1
	}
	err := s.Postgres.InTx(ctx, func(tx *postgres.Tx) error {
		tries, err := tx.RunWait(ctx, p)
		if postgres.NotFound(err) || err == nil && pause.Cause == deferral.Pause {
			return nil
		}
		if err != nil {
			return err
		}
		return announceWait(ctx, tx, run, pause, tries, now)
	})
	if err != nil {
		return fmt.Errorf("put run %s aside: %w", run.ID, err)
	}
	return nil
}

// Hold notes that the enumeration of a run waits in place, or with an empty pause that it goes on. The state stays.
func (s *Store) Hold(ctx context.Context, run *postgres.Run, pause Pause) error {
	return s.Postgres.InTx(ctx, func(tx *postgres.Tx) error {
		held, err := tx.RunHold(ctx, dbsqlc.RunHoldParams{
			ID: run.ID, Attempt: run.Attempt, WaitingUntil: pause.until(), WaitingFor: string(pause.Cause),
			Error: pause.Why,
		})
		if err != nil || held == 0 || pause.Until.IsZero() {
			return err
		}
		return announceWait(ctx, tx, run, pause, run.Tries-1, s.Now())
	})
}

func (p Pause) until() *time.Time {
	if p.Until.IsZero() {
		return nil
	}
	return &p.Until
}

// announceWait publishes that a run waits.
func announceWait(ctx context.Context, tx *postgres.Tx, run *postgres.Run, pause Pause, failures int32,
	now time.Time,
) error {
	integration, err := tx.IntegrationGet(ctx, run.IntegrationID)
	if err != nil {
		return err
	}
	waits := &eventsv1.RunWaiting{
		Integration: announce.Ref(integration), RunId: run.ID.String(), Until: timestamppb.New(pause.Until),
		Reason: pause.Why.String(), Failures: failures, WaitingFor: string(pause.Cause),
	}
	if !pause.Asked.IsZero() {
		waits.AskedUntil = timestamppb.New(pause.Asked)
	}
	return announce.Publish(ctx, tx, now, events.RunWaiting, integration, waits)
}

// Lose notes that an attempt lacks an item, which its provider dispatched after the enumeration had ended as complete.
// The run fails, also if it has closed meanwhile, and an incident is opened.
func (s *Store) Lose(ctx context.Context, run *postgres.Run, reason foreign.Text) error {
	return s.Postgres.InTx(ctx, func(tx *postgres.Tx) error {
		integration, err := tx.IntegrationLock(ctx, run.IntegrationID)
		if postgres.NotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		failed, err := tx.RunLost(ctx, dbsqlc.RunLostParams{ID: run.ID, Attempt: run.Attempt, Lost: reason})
		if postgres.NotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		return health.Raise(ctx, tx, integration, health.Signal{
			Source: health.SourceProvider, Severity: health.Failing,
			Reason: foreign.Line(fmt.Sprintf("run %s: %s", failed.ID, reason)),
		}, s.Now())
	})
}
