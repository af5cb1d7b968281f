package scheduler

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/tributaryhq/tributary/internal/loop"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/setaside"
	"github.com/tributaryhq/tributary/internal/wire"
)

// losses remember until when the broker has lost what open runs had there.
type losses struct {
	kicks chan struct{}

	mu       sync.Mutex
	at, seen time.Time
}

func (l *losses) note(at, seen time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at.After(l.at) {
		l.at, l.seen = at, seen
	}
	loop.Kick(l.kicks)
}

func (l *losses) get() (at, seen time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.at, l.seen
}

// settled forgets a loss, unless there was a later one.
func (l *losses) settled(at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.at.Equal(at) {
		l.at, l.seen = time.Time{}, time.Time{}
	}
}

// StoreLost says that the broker has lost messages or checkpoints that were stored before at, the broker's time. Open
// runs that may have had some of them start again as their next attempt, at once. seen is when this process last saw
// the broker before the loss. It may be called whether or not the scheduler runs.
func (s *Scheduler) StoreLost(at, seen time.Time) { s.lost.note(at, seen) }

// driveLost drives the runs that a loss concerns. Schedulers that notice the same loss drive each run once: they agree
// on when it was noticed first, and the wake of a run that was driven is later.
func (s *Scheduler) driveLost(ctx context.Context) error {
	own, seen := s.lost.get()
	if own.IsZero() {
		return nil
	}
	at, err := s.noticed(ctx, own, seen)
	if err != nil {
		return err
	}
	for more := true; more && ctx.Err() == nil; {
		tried := 0
		err := setaside.Run(ctx, s.SetAside, setaside.Sweep[*postgres.Run]{
			Kind: setaside.CloseRun, Most: sweepAtATime, Name: nameOfRun,
			Step: func(ctx context.Context, run *postgres.Run) error {
				tried++
				return s.driveAgain(ctx, run, at)
			},
			List: func(ctx context.Context, most int32) ([]*postgres.Run, error) {
				runs,
					err := s.Store.RunStartedBefore(ctx, dbsqlc.RunStartedBeforeParams{
					Moment:    at,
					Providers: s.Runs.Providers(), Most: most,
				})
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
	s.lost.settled(own)
	return nil
}

// lossKey is the cell with the time at which the newest loss was noticed first.
const lossKey = "loss"

// noticed is when any scheduler first noticed the loss that this one noticed at a time. A time after seen is that of
// the same loss. One of an earlier loss is replaced.
func (s *Scheduler) noticed(ctx context.Context, at, seen time.Time) (time.Time, error) {
	cells, err := s.Bus.Cells(ctx, wire.BucketMark)
	if err != nil {
		return at, fmt.Errorf("open the cell of losses: %w", err)
	}
	for {
		value, revision, err := cells.Read(ctx, lossKey)
		if err != nil {
			return at, err
		}
		// What is no time is replaced too.
		first, _ := time.Parse(time.RFC3339Nano, string(value))
		if first.After(seen) {
			if first.Before(at) {
				at = first
			}
			return at, nil
		}
		_, written, err := cells.Write(ctx, lossKey, []byte(at.UTC().Format(time.RFC3339Nano)), revision)
		if err != nil || written {
			return at, err
		}
	}
}

// driveAgain wakes a run in a second after that of the loss, for wakes count seconds.
func (s *Scheduler) driveAgain(ctx context.Context, run *postgres.Run, lost time.Time) error {
	now := s.Now()
	if later := lost.Truncate(time.Second).Add(time.Second); now.Before(later) {
		now = later
	}
	woken, err := s.Runs.Redrive(ctx, run, now, func(locked *postgres.Run) bool { return locked.Wake == run.Wake })
	if woken {
		s.Log.Warn("the broker has lost what the run had there; it is driven again", "run", run.ID, "provider",
			run.Provider, "attempts", run.Attempts)
		s.Metrics.driven(run.Provider)
	}
	return err
}
