package runs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/announce"
	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/health"
	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/runstate"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// judged is what a complete attempt came to, and what its provider made of that.
type judged struct {
	*ending
	provider contracts.Provider
	reduced  reduction
}

// ErrDeadly is why a run closes without its provider's reducer.
var ErrDeadly = errors.New("the process ended each time while the provider's reducer was at work; mend it, then: " +
	"tributary outbox retry --all --kind reduce, and tributary items retry --all")

// Closing is what came of an attempt that looked complete.
type Closing struct {
	// Settled says that there is nothing left to do about the attempt.
	Settled bool
	// Closed is the run, if this call has closed it.
	Closed *postgres.Run
	// Repeated is the run, if it was started again because Postgres lacks what NATS calls finished.
	Repeated *postgres.Run
}

// Close closes a run whose newest attempt is complete; of several schedulers, the first that commits does it. Without
// the reducer, a run that needs it fails.
func (s *Store) Close(ctx context.Context, id uuid.UUID, attempt int32, without bool) (Closing, error) {
	run, err := s.Postgres.RunGet(ctx, id)
	if postgres.NotFound(err) {
		return Closing{Settled: true}, nil
	}
	if err != nil {
		return Closing{}, fmt.Errorf("read run %s: %w", id, err)
	}
	if run.ClosedAt != nil || run.Attempt > attempt {
		return Closing{Settled: true}, nil
	}
	if run.Attempt < attempt || !s.Registry.Has(run.Provider) {
		// Another scheduler has its provider, or knows more.
		return Closing{}, nil
	}
	ctx, span := s.spanOf(ctx, run, "close run")
	defer span.End()
	j, err := s.judge(ctx, run, without)
	var closed *postgres.Run
	if err == nil {
		s.Crash("scheduler: before close")
		closed, err = s.commitClose(ctx, run, j)
	}
	switch {
	case errors.Is(err, errIncomplete), errors.Is(err, errDeadChanged):
		return Closing{}, nil
	case errors.Is(err, errForgotten):
		repeated, err := s.repeat(ctx, run, err)
		if !repeated {
			run = nil
		}
		return Closing{Settled: true, Repeated: run}, err
	case err != nil:
		return Closing{}, err
	}
	s.Crash("scheduler: run closed")
	return Closing{Settled: true, Closed: closed}, nil
}

// judge reads what an attempt came to, and asks the reducer for the cursor if that can move. Without the reducer, that
// is an error of the reduction.
func (s *Store) judge(ctx context.Context, run *postgres.Run, without bool) (*judged, error) {
	provider, err := s.Registry.Provider(run.Provider)
	if err != nil {
		return nil, err
	}
	reducer, ok := provider.(contracts.ScheduledSync)
	if !ok {
		return nil, fmt.Errorf("provider %q can't be synced any more", run.Provider)
	}
	_, fold := provider.(contracts.AssociativeReducer)
	fold = fold && !without
	e, err := s.gather(ctx, run, reducer, fold)
	if fold && errors.Is(err, checkpoint.ErrReducer) {
		// Keep every value, so that a mended reducer finds them all.
		e, err = s.gather(ctx, run, reducer, false)
	}
	if err != nil {
		return nil, err
	}
	j := &judged{ending: e, provider: provider}
	switch {
	case !e.reducible():
	case without:
		j.reduced.err = ErrDeadly
	default:
		if j.reduced.candidate, j.reduced.err = checkpoint.Reduce(reducer,
			checkpointsOf(e.values)); j.reduced.err != nil {
			panics.Report(s.Log, j.reduced.err, "run", run.ID)
		}
	}
	return j, nil
}

// commitClose is the one transaction that ends a run. It returns nil if another scheduler was first.
func (s *Store) commitClose(ctx context.Context, run *postgres.Run, j *judged) (closed *postgres.Run, err error) {
	err = s.Postgres.InTx(ctx, func(tx *postgres.Tx) error {
		closed = nil
		now := s.Now()
		// The integration first, as commands lock them.
		integration, err := tx.IntegrationLock(ctx, run.IntegrationID)
		if err != nil {
			return fmt.Errorf("lock integration %s: %w", run.IntegrationID, err)
		}
		locked, err := tx.RunLock(ctx, run.ID)
		if err != nil {
			return fmt.Errorf("lock run %s: %w", run.ID, err)
		}
		if locked.ClosedAt != nil || locked.Attempt != run.Attempt {
			return nil
		}
		if err := compare(ctx, tx, locked, j.ending); err != nil {
			return err
		}
		v := decide(locked, j.ending, j.against(integration, locked))
		var messages []postgres.Outgoing
		if v.cursor != nil {
			if messages, err = moveCursorTo(ctx, tx, integration, run.ID.String(), string(v.cursor), now); err != nil {
				return err
			}
		}
		params, err := closeParams(locked, j.ending, v, now)
		if err != nil {
			return err
		}
		if closed, err = tx.RunClose(ctx, params); err != nil {
			return fmt.Errorf("close run %s: %w", run.ID, err)
		}
		more, err := s.settle(ctx, tx, integration, closed, j.ending, now)
		if err != nil {
			return err
		}
		messages = append(messages, more...)
		if err := s.believed(ctx, tx, integration, closed, j.total.GetNote(), now); err != nil {
			return err
		}
		if err := s.followUp(ctx, tx, integration.ID, closed, now); err != nil {
			return err
		}
		return tx.Publish(ctx, now, messages...)
	})
	if err != nil {
		return nil, err
	}
	return closed, nil
}

// compare makes sure that the ending is still what Postgres has.
func compare(ctx context.Context, tx *postgres.Tx, run *postgres.Run, e *ending) error {
	rows, err := tx.DeadOfAttempt(ctx, run.ID, run.Attempt)
	if err != nil {
		return fmt.Errorf("read dead items of run %s: %w", run.ID, err)
	}
	receipts, err := tx.Receipts(ctx, run.ID, run.Attempt)
	if err != nil {
		return err
	}
	return e.stands(rows, receipts)
}

// against compares the candidate with the integration's cursor, unless that has been set since the run started. The
// provider's code does it.
func (j *judged) against(integration *postgres.Integration, run *postgres.Run) reduction {
	r := j.reduced
	if len(r.candidate) > 0 && run.Lost == "" && integration.CursorVersion == run.CursorVersion {
		r.forward, r.err = advances(j.provider, integration.SyncCursor, r.candidate)
	}
	return r
}

func closeParams(run *postgres.Run, e *ending, v verdict, now time.Time) (dbsqlc.RunCloseParams, error) {
	skips, err := storedSkips(e.skips)
	p := dbsqlc.RunCloseParams{
		ID: run.ID, Attempt: run.Attempt, State: v.state, Error: v.err, Items: e.total.GetItems(), Done: e.done,
		Dead:    e.dead,
		Skipped: e.skipped, SkipReasons: skips, Duplicates: e.total.GetDuplicates(), Complete: v.complete,
		ReduceFailed: v.reduceFailed, Now: &now,
	}
	if v.resolved {
		p.ResolvedAt, p.Resolution = &now, runstate.Resolved
	}
	return p, err
}

// settle does what a run's end means for its integration and for its older runs.
func (s *Store) settle(ctx context.Context, tx *postgres.Tx, integration *postgres.Integration, run *postgres.Run,
	e *ending, now time.Time,
) ([]postgres.Outgoing, error) {
	if len(e.lateDone) > 0 {
		p := dbsqlc.DeadResolveManyParams{RunID: run.ID, Attempt: run.Attempt, Now: now}
		for _, at := range e.lateDone {
			p.Batches = append(p.Batches, at.batch)
			p.ItemIndexes = append(p.ItemIndexes, at.index)
		}
		if _, err := tx.DeadResolveMany(ctx, p); err != nil {
			return nil, fmt.Errorf("resolve items of run %s: %w", run.ID, err)
		}
	}
	if run.ResolvedAt == nil && run.Complete {
		if _, err := tx.RunCheckpointInsertMany(ctx, rowsOf(run, e.values)); err != nil {
			return nil, fmt.Errorf("keep checkpoints of run %s: %w", run.ID, err)
		}
	}
	messages, err := s.reschedule(ctx, tx, integration, run, now)
	if err != nil {
		return nil, err
	}
	ended, err := logEnd(ctx, tx, integration, run, now)
	if err != nil {
		return nil, err
	}
	messages = append(messages, ended)
	if !run.Complete {
		return messages, nil
	}
	if err := supersedeOlder(ctx, tx, run, now); err != nil {
		return nil, err
	}
	stuck, err := s.streaks(ctx, tx, integration, run)
	return append(messages, stuck...), err
}

// reschedule sets when the integration is due next, and ends that it is stale.
func (s *Store) reschedule(ctx context.Context, tx *postgres.Tx, integration *postgres.Integration, run *postgres.Run,
	now time.Time,
) ([]postgres.Outgoing, error) {
	clean := run.State == runstate.Succeeded
	probeAt := now.Add(s.Health.Settings.Idle)
	failures, err := tx.IntegrationSynced(ctx, dbsqlc.IntegrationSyncedParams{
		ID: integration.ID, Clean: clean, Counts: run.Cause == runstate.Scheduled, Now: &now, ProbeAt: &probeAt,
	})
	if err != nil {
		return nil, fmt.Errorf("note the end of run %s: %w", run.ID, err)
	}
	wait, moves := pace(run, int(failures), s.MaxBackoff, s.Health.Slowed(integration.Health), s.Interval(integration))
	if !moves {
		return nil, nil
	}
	next := now.Add(wait)
	if err := tx.IntegrationSetNextSync(ctx, &next, integration.ID); err != nil {
		return nil, fmt.Errorf("set the next sync of %s: %w", integration.ID, err)
	}
	if !clean {
		return nil, nil
	}
	recovered, err := tx.IntegrationClearStale(ctx, integration.ID)
	if err != nil || recovered == 0 {
		return nil, err
	}
	if err := health.Clear(ctx, tx, integration, health.SourceSync, "a sync was clean", now); err != nil {
		return nil, err
	}
	m, err := announce.Event(events.SyncRecovered, integration,
		&eventsv1.SyncRecovered{Integration: announce.Ref(integration)})
	return []postgres.Outgoing{m}, err
}

// supersedeOlder lets a run that enumerated everything stand for older ones that started from the same cursor: their
// records came again in it.
func supersedeOlder(ctx context.Context, tx *postgres.Tx, run *postgres.Run, now time.Time) error {
	older, err := tx.RunSupersede(ctx, dbsqlc.RunSupersedeParams{
		IntegrationID: run.IntegrationID, ID: run.ID, CursorVersion: run.CursorVersion, Now: &now,
	})
	if err != nil {
		return fmt.Errorf("supersede runs before %s: %w", run.ID, err)
	}
	if len(older) == 0 {
		return nil
	}
	if _, err := tx.DeadSupersedeRuns(ctx, now, older); err != nil {
		return fmt.Errorf("supersede dead items of older runs: %w", err)
	}
	return tx.RunCheckpointDelete(ctx, older)
}

// streaks counts in how many runs on end each record was dead, and says once that it is stuck.
func (s *Store) streaks(ctx context.Context, tx *postgres.Tx, integration *postgres.Integration, run *postgres.Run) (
	[]postgres.Outgoing, error,
) {
	err := tx.StreakClear(ctx, dbsqlc.StreakClearParams{
		IntegrationID: integration.ID, RunID: run.ID,
		Attempt: run.Attempt,
	})
	if err != nil {
		return nil, fmt.Errorf("clear streaks: %w", err)
	}
	if run.Dead == 0 {
		return nil, nil
	}
	stuck, err := tx.StreakRaise(ctx, dbsqlc.StreakRaiseParams{
		RunID: run.ID, Attempt: run.Attempt,
		StuckAfter: int32(s.StuckAfter),
	})
	if err != nil {
		return nil, fmt.Errorf("count streaks: %w", err)
	}
	messages := make([]postgres.Outgoing, 0, len(stuck))
	for _, row := range stuck {
		m, err := announce.Event(events.ItemStuck, integration, &eventsv1.ItemStuck{
			Integration: announce.Ref(integration), RunId: run.ID.String(), EventType: row.EventType,
			ExternalId: row.ExternalID, Runs: row.Runs,
		})
		if err != nil {
			return nil, err
		}
		messages = append(messages, m)
		err = tx.StreakAlerted(ctx, dbsqlc.StreakAlertedParams{
			IntegrationID: integration.ID, EventType: row.EventType,
			ExternalID: row.ExternalID,
		})
		if err != nil {
			return nil, fmt.Errorf("note the stuck item: %w", err)
		}
	}
	return messages, nil
}
