package scheduler

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/setaside"
)

// losses remember until when the broker has lost what open runs had there.
type losses struct {
	kicks chan struct{}

	mu sync.Mutex
	at time.Time
}

func (l *losses) note(at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at.After(l.at) {
		l.at = at
	}
	kick(l.kicks)
}

func (l *losses) get() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.at
}

// settled forgets a loss, unless there was a later one.
func (l *losses) settled(at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.at.Equal(at) {
		l.at = time.Time{}
	}
}

// StoreLost says that the broker has lost messages or checkpoints that were stored before at, the broker's time. Open runs that may have had some of them start again as
// their next attempt, at once. It may be called whether or not the scheduler runs.
func (s *Scheduler) StoreLost(at time.Time) { s.lost.note(at) }

// driveLost drives the runs that a loss concerns. Schedulers that notice the same loss drive each run once: the wake of one that was driven is later than the loss.
func (s *Scheduler) driveLost(ctx context.Context) error {
	at := s.lost.get()
	if at.IsZero() {
		return nil
	}
	for more := true; more && ctx.Err() == nil; {
		tried := 0
		err := setaside.Run(ctx, s.SetAside, setaside.Sweep[*postgres.Run]{
			Kind: setaside.CloseRun, Most: sweepAtATime, Name: nameOfRun,
			Step: func(ctx context.Context, run *postgres.Run) error {
				tried++
				return s.driveAgain(ctx, run)
			},
			List: func(ctx context.Context, most int32) ([]*postgres.Run, error) {
				runs, err := s.Store.RunStartedBefore(ctx, dbsqlc.RunStartedBeforeParams{Moment: at, Providers: s.keys, Most: most})
				if err != nil {
					return nil, fmt.Errorf("look for runs that have lost messages: %w", err)
				}
				return runs, nil
			},
		})
		if err != nil {
			return err
		}
		// Those that are set aside are listed too, and would be for ever.
		more = tried >= sweepAtATime
	}
	s.lost.settled(at)
	return nil
}

func (s *Scheduler) driveAgain(ctx context.Context, run *postgres.Run) error {
	return s.Store.InTx(ctx, func(tx *postgres.Tx) error {
		locked, err := tx.RunLock(ctx, run.ID)
		if err != nil || locked.ClosedAt != nil || locked.Attempt != run.Attempt || locked.Wake != run.Wake {
			return err
		}
		s.Log.Warn("the broker has lost what the run had there; it is driven again", "run", run.ID, "provider", run.Provider, "attempts", run.Attempts)
		s.Metrics.driven(run.Provider)
		return wake(ctx, tx, locked, s.Now(), nil)
	})
}
