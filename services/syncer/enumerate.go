package syncer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/outbound"
	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/redact"
	"github.com/tributaryhq/tributary/internal/requestlog"
	"github.com/tributaryhq/tributary/internal/runstate"
	"github.com/tributaryhq/tributary/pkg/contracts"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// enumerate calls the provider and returns once the broker has everything that it handed over, also when it fails. The total is never nil.
func (s *Syncer) enumerate(ctx context.Context, d *bus.Delivery, run *postgres.Run) (*eventsv1.Total, error) {
	row, err := s.Store.IntegrationGet(ctx, run.IntegrationID)
	if err != nil {
		return &eventsv1.Total{}, fmt.Errorf("read integration of run %s: %w", run.ID, err)
	}
	in, err := s.Integrations.Load(ctx, row.ID, row.Version)
	if err != nil {
		return &eventsv1.Total{}, err
	}
	provider, err := s.Registry.Provider(run.Provider)
	if err != nil {
		return &eventsv1.Total{}, err
	}
	// calling ends when the enumeration must stop; ctx goes on for what was handed over.
	calling, stop := context.WithCancelCause(requestlog.WithOrigin(ctx, requestlog.Origin{Run: run.ID.String()}))
	defer stop(nil)
	session := newSession(ctx, calling, s, run, d)
	session.checker, _ = provider.(contracts.CheckpointChecker)
	helpers, helping := errgroup.WithContext(ctx)
	helping, stopHelping := context.WithCancel(helping)
	helpers.Go(func() error { s.heartbeat(helping, run, stop); return nil })
	helpers.Go(func() error {
		return s.Checkpoints.Watch(helping, run.ID.String(), run.Attempt, session.window.apply, nil)
	})
	helpers.Go(func() error { s.guardCall(helping, d.Stopping, session, stop); return nil })
	helpers.Go(func() error { session.lingerLoop(helping); return nil })
	helpers.Go(func() error { session.aside.takeTurns(helping, s.Settings.Turn); return nil })
	publishers := session.startPublishers(stop)

	err = s.call(outbound.WithPatience(calling, session.patience(in)), provider, in, run, session)
	total, closeErr := session.close()
	total.Note = redact.New(nil, in).Text(session.note())
	if closeErr != nil && err == nil {
		err = closeErr
	}
	if publishErr := publishers.Wait(); publishErr != nil && err == nil {
		err = publishErr
	}
	stopHelping()
	if watchErr := helpers.Wait(); watchErr != nil && err == nil {
		err = watchErr
	}
	session.aside.resume()
	if cause := context.Cause(calling); cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	if err == nil {
		err = fromProvider(in, session.guard.Verdict(func(late error) { s.lost(ctx, run, fromProvider(in, late)) }))
	}
	return total, err
}

// call runs the provider's method, which may panic, or hang beyond all limits: then it is left behind, and the closed session takes nothing
// from it any more.
func (s *Syncer) call(ctx context.Context, provider contracts.Provider, in *contracts.Integration, run *postgres.Run, session *session) (err error) {
	returned := make(chan error, 1)
	defer func() { err = fromProvider(in, err) }()
	go func() {
		err := callProvider(ctx, provider, in, run, session)
		session.guard.End()
		panics.Report(s.Log, err, "provider", run.Provider, "run", run.ID)
		returned <- err
	}()
	select {
	case err := <-returned:
		return err
	case <-ctx.Done():
	}
	timer := time.NewTimer(s.Settings.Grace)
	defer timer.Stop()
	select {
	case err := <-returned:
		if err == nil {
			return context.Cause(ctx)
		}
		return err
	case <-timer.C:
		s.Log.Error("provider does not return though its context has ended; it is left behind", "provider", run.Provider, "run", run.ID)
		return context.Cause(ctx)
	}
}

func callProvider(ctx context.Context, provider contracts.Provider, in *contracts.Integration, run *postgres.Run, session *session) (err error) {
	defer panics.Catch(&err, "the provider")
	if incremental, ok := provider.(contracts.IncrementalSync); ok && run.Mode == runstate.Incremental {
		return incremental.SyncIncremental(ctx, in, session)
	}
	scheduled, ok := provider.(contracts.ScheduledSync)
	if !ok {
		return contracts.Permanent(fmt.Errorf("provider %q can't be synced", run.Provider))
	}
	return scheduled.Sync(ctx, in, session)
}

// providerError is what a provider returned, told apart from our own troubles: an upstream that can't be reached is not a database that can't.
type providerError struct {
	cause error
	text  foreign.Text
}

func (e *providerError) Error() string { return e.text.String() }
func (e *providerError) Unwrap() error { return e.cause }

// fromProvider marks an error as the provider's. It is stored and shown, so its text holds no secret and has a bounded length, whatever page of an upstream it was made of.
func fromProvider(in *contracts.Integration, err error) error {
	if err == nil {
		return nil
	}
	err = redact.New(nil, in).Error(err)
	return &providerError{cause: err, text: foreign.Of(err)}
}

// heartbeat shows that the run has a live syncer, and notices when the run or the integration wants no more.
func (s *Syncer) heartbeat(ctx context.Context, run *postgres.Run, stop context.CancelCauseFunc) {
	ticker := time.NewTicker(s.Bus.Timing().AckWait / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		status, err := s.Store.RunHeartbeat(ctx, dbsqlc.RunHeartbeatParams{ID: run.ID, Attempt: run.Attempt, Now: s.Now()})
		switch {
		case postgres.NotFound(err):
			stop(errNotOurs)
		case err != nil:
			s.Log.Warn("heartbeat not written", "run", run.ID, "error", err)
		case status != "active":
			stop(errPaused)
		}
	}
}

// guardCall stops the enumeration when the service stops, or when nothing comes of it for too long.
func (s *Syncer) guardCall(ctx context.Context, stopping <-chan struct{}, session *session, stop context.CancelCauseFunc) {
	ticker := time.NewTicker(max(s.Settings.Silence/60, 10*time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-stopping:
			stop(errStopping)
			return
		case <-ticker.C:
			if session.silentFor(s.Now()) > s.Settings.Silence {
				stop(fmt.Errorf("%w: %s", errSilent, s.Settings.Silence))
				return
			}
		}
	}
}

// accepts asks whether the run still takes what this attempt produces.
func (s *Syncer) accepts(ctx context.Context, run *postgres.Run) error {
	now, err := s.Store.RunAccepts(ctx, run.ID)
	switch {
	case postgres.NotFound(err):
		return errNotOurs
	case err != nil:
		return fmt.Errorf("ask whether run %s goes on: %w", run.ID, err)
	case now.Closed || now.Attempt != run.Attempt:
		return errNotOurs
	case now.Status != "active":
		return errPaused
	}
	return nil
}

// window counts what of the run is under way, from the watch on its entries.
type window struct {
	progress checkpoint.Progress
	changed  chan struct{}
	lock     chan struct{}
}

func newWindow() *window {
	return &window{changed: make(chan struct{}, 1), lock: make(chan struct{}, 1)}
}

func (w *window) apply(u checkpoint.Update) {
	w.lock <- struct{}{}
	w.progress.Apply(u)
	<-w.lock
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// wait returns once fewer than the allowed number of batches and retries are under way.
func (w *window) wait(ctx context.Context, published, batches, retrying int) error {
	for {
		w.lock <- struct{}{}
		open := published-w.progress.WorkedOff() >= batches || w.progress.Retrying() >= retrying
		<-w.lock
		if !open {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-w.changed:
		}
	}
}
