package scheduler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributaryhq/tributary/internal/announce"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/health"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/runs"
	"github.com/tributaryhq/tributary/internal/setaside"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

const sweepAtATime = 100

// sweep is for what no event announces.
func (s *Scheduler) sweep(ctx context.Context) error {
	return errors.Join(
		s.driveSilent(ctx), s.resolveLate(ctx), s.markStale(ctx), s.freeEntries(ctx), s.forgetClosed(ctx),
		s.reopenLost(ctx),
	)
}

// driveSilent looks at open runs that have shown no sign of life: a complete one is closed, one that still has messages
// is left alone, and any other is driven again as its next attempt.
func (s *Scheduler) driveSilent(ctx context.Context) error {
	return setaside.Run(ctx, s.SetAside, setaside.Sweep[*postgres.Run]{
		Kind: setaside.CloseRun, Most: sweepAtATime, Name: nameOfRun, Step: s.driveOne, Workers: s.closers,
		Share: providerOf,
		List: func(ctx context.Context, most int32) ([]*postgres.Run, error) {
			runs, err := s.Store.RunSilent(ctx, dbsqlc.RunSilentParams{
				SilentSince: s.Now().Add(-s.Settings.Silent),
				Providers:   s.Runs.Providers(), Most: most,
			})
			if err != nil {
				return nil, fmt.Errorf("look for silent runs: %w", err)
			}
			return runs, nil
		},
	})
}

func nameOfRun(run *postgres.Run) setaside.Element { return setaside.Of(run.ID, run.IntegrationID) }

func providerOf(run *postgres.Run) string { return run.Provider }

func nameOfIntegration(row *postgres.Integration) setaside.Element {
	return setaside.Element{Key: row.ID.String(), Integration: row.ID, About: row.Name}
}

func (s *Scheduler) driveOne(ctx context.Context, run *postgres.Run) error {
	// The order matters: what leaves the outbox is on the stream before.
	due := wire.SyncDueSubject(run.Provider, run.IntegrationID.String())
	waiting, err := s.Store.OutboxHasDue(ctx, due)
	if err == nil && !waiting {
		waiting, err = s.Bus.Holds(ctx, wire.StreamSync, due)
	}
	if err == nil && !waiting {
		waiting, err = s.Bus.Holds(ctx, wire.StreamItems, wire.RunFilters(run.Provider, run.IntegrationID.String(),
			run.ID.String(), 0)...)
	}
	if err != nil {
		return err
	}
	if waiting {
		return cmp.Or(s.Store.RunTouch(ctx, s.Now(), run.ID), setaside.ErrLeft)
	}
	known, err := s.SetAside.Load(ctx, setaside.Reduce)
	if err != nil {
		return err
	}
	err = s.reducing(ctx, run.IntegrationID, s.Runs.Tracker.IsFresh(runs.NewestAttempt(run)), known,
		func(without bool) error {
			_, err := s.closeRun(ctx, run.ID, run.Attempt, without)
			return err
		})
	if err != nil {
		return err
	}
	woken, err := s.Runs.Redrive(ctx, run, s.Now(), func(locked *postgres.Run) bool {
		return !locked.HeartbeatAt.After(run.HeartbeatAt)
	})
	if woken {
		s.Log.Warn("run has neither a live syncer nor messages; it is driven again", "run", run.ID, "provider",
			run.Provider, "attempts", run.Attempts)
		s.Metrics.driven(run.Provider)
	}
	return err
}

// resolveLate reduces closed runs whose last dead item has been retried to success or skipped since.
func (s *Scheduler) resolveLate(ctx context.Context) error {
	fresh := s.resolving
	return setaside.Run(ctx, s.SetAside, setaside.Sweep[*postgres.Run]{
		Kind: setaside.ResolveRun, Most: sweepAtATime, Name: nameOfRun, Workers: s.closers, Share: providerOf,
		Step: func(ctx context.Context, run *postgres.Run) error { return s.resolveOne(ctx, run, fresh) },
		List: func(ctx context.Context, most int32) ([]*postgres.Run, error) {
			runs, err := s.Store.RunResolvable(ctx, s.Runs.Providers(), most)
			if err != nil {
				return nil, fmt.Errorf("look for resolvable runs: %w", err)
			}
			s.resolving = true
			return runs, nil
		},
	})
}

// resolveOne resolves a run. Unless it is fresh, it may have ended a process before.
func (s *Scheduler) resolveOne(ctx context.Context, run *postgres.Run, fresh bool) error {
	known, err := s.SetAside.Load(ctx, setaside.Reduce)
	if err != nil {
		return err
	}
	return s.reducing(ctx, run.IntegrationID, fresh, known, func(without bool) error {
		return s.Runs.Resolve(ctx, run, without)
	})
}

// Resolve reduces a closed run whose last dead item has just been skipped. A run that waits for more, or whose provider
// another scheduler has, is left to the sweep.
func (s *Scheduler) Resolve(ctx context.Context, id uuid.UUID) error {
	run, err := s.Store.RunResolvableNow(ctx, id, s.Runs.Providers())
	if postgres.NotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at run %s: %w", id, err)
	}
	if err := s.resolveOne(ctx, run, false); err != nil && !errors.Is(err, setaside.ErrLeft) {
		return err
	}
	return nil
}

// markStale says, once an episode, which integrations have had no clean sync for too long, and which nobody can sync
// because no scheduler that runs has their provider.
func (s *Scheduler) markStale(ctx context.Context) error {
	intervals := make([]time.Duration, 0, len(s.Runs.Providers()))
	for _, key := range s.Runs.Providers() {
		interval, _ := s.Runs.DefaultInterval(key)
		intervals = append(intervals, interval)
	}
	now := s.Now()
	_, err := setaside.RunBatch(ctx, s.SetAside, setaside.Batch[*postgres.Integration]{
		Kind: setaside.MarkStale, Most: sweepAtATime, Name: nameOfIntegration,
		Claim: func(ctx context.Context, tx *postgres.Tx, most int32, without []uuid.UUID) ([]*postgres.Integration,
			error,
		) {
			rows, err := tx.IntegrationMarkStale(ctx, dbsqlc.IntegrationMarkStaleParams{
				Now: &now, Providers: s.Runs.Providers(), Intervals: intervals,
				IntervalsAllowed: int32(s.Settings.StaleAfter), Without: without, Most: most,
				UnclaimedBefore: now.Add(-s.Settings.UnclaimedAfter),
			})
			if err != nil {
				return nil, fmt.Errorf("look for stale integrations: %w", err)
			}
			return rows, nil
		},
		Step: func(ctx context.Context, tx *postgres.Tx, rows []*postgres.Integration) error {
			for _, row := range rows {
				if err := s.reportStale(ctx, tx, row, now); err != nil {
					return err
				}
			}
			return nil
		},
	})
	return err
}

func (s *Scheduler) reportStale(ctx context.Context, tx *postgres.Tx, integration *postgres.Integration,
	now time.Time,
) error {
	told := &eventsv1.SyncStale{Integration: announce.Ref(integration)}
	if integration.LastSyncedAt != nil {
		told.LastSyncedAt = timestamppb.New(*integration.LastSyncedAt)
	}
	m, err := announce.Event(events.SyncStale, integration, told)
	if err != nil {
		return err
	}
	if err := tx.Publish(ctx, now, m); err != nil {
		return err
	}
	reason := foreign.Line(fmt.Sprintf("no clean sync for %d intervals", s.Settings.StaleAfter))
	if _, ours := s.Runs.DefaultInterval(integration.Provider); !ours {
		reason = foreign.Line(fmt.Sprintf("due since %s, but no scheduler that runs has the provider %q: run a build "+
			"that has it, or pause the integration",
			integration.NextSyncAt.UTC().Format(time.DateTime), integration.Provider))
	}
	s.Log.Warn("integration is stale", "integration", integration.Name, "provider", integration.Provider, "reason",
		reason)
	return health.Raise(ctx, tx, integration, health.Signal{
		Source: health.SourceSync, Severity: health.Failing,
		Reason: reason,
	}, now)
}

// runPlace is the place of a closed run among all, by when they were closed.
type runPlace struct {
	closed time.Time
	id     uuid.UUID
}

// freeEntries removes the entries of closed runs that have no messages any more. A sweep goes on behind the page of the
// one before: runs that have messages for long take no other's place.
func (s *Scheduler) freeEntries(ctx context.Context) error {
	return setaside.Run(ctx, s.SetAside, setaside.Sweep[*postgres.Run]{
		Kind: setaside.FreeEntries, Most: sweepAtATime, Name: nameOfRun, Step: s.freeOne,
		List: func(ctx context.Context, most int32) ([]*postgres.Run, error) {
			before := s.Now().Add(-s.Settings.EntriesGrace)
			runs, err := s.Store.RunWithEntries(ctx, dbsqlc.RunWithEntriesParams{
				ClosedBefore: &before, AfterClosed: s.entriesAfter.closed, AfterID: s.entriesAfter.id, Most: most,
			})
			if err != nil {
				return nil, fmt.Errorf("look for entries to free: %w", err)
			}
			s.entriesAfter = runPlace{}
			if last := len(runs) - 1; len(runs) == int(most) {
				s.entriesAfter = runPlace{*runs[last].ClosedAt, runs[last].ID}
			}
			return runs, nil
		},
	})
}

func (s *Scheduler) freeOne(ctx context.Context, run *postgres.Run) error {
	held, err := s.Bus.Holds(ctx, wire.StreamItems, wire.RunFilters(run.Provider, run.IntegrationID.String(),
		run.ID.String(), 0)...)
	if err != nil || held {
		return cmp.Or(err, setaside.ErrLeft)
	}
	if err := s.Checkpoints.Free(ctx, run.ID.String(), 0); err != nil {
		return err
	}
	if err := s.Store.ReceiptDelete(ctx, run.ID); err != nil {
		return fmt.Errorf("delete receipts: %w", err)
	}
	now := s.Now()
	return s.Store.RunEntriesFreed(ctx, &now, run.ID)
}

// forgetClosed drops what is tracked of runs that are closed; what the janitor frees is never told.
func (s *Scheduler) forgetClosed(ctx context.Context) error {
	// Listing the tracked ones first makes sure that a run which is opened meanwhile is not taken for a closed one.
	gone := map[string]bool{}
	for _, run := range s.Runs.Tracker.Runs() {
		gone[run] = true
	}
	open, err := s.Store.RunOpenIDs(ctx)
	if err != nil {
		return fmt.Errorf("list open runs: %w", err)
	}
	for _, run := range open {
		delete(gone, run.String())
	}
	s.Runs.Tracker.Drop(gone)
	return nil
}

// reopenLost makes dead items open again whose retry was never heard of.
func (s *Scheduler) reopenLost(ctx context.Context) error {
	now := s.Now()
	if _, err := s.Store.DeadReopenLost(ctx, now, now.Add(-s.Settings.RedriveWindow)); err != nil {
		return fmt.Errorf("reopen lost redrives: %w", err)
	}
	return nil
}
