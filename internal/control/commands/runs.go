package commands

import (
	"context"
	"fmt"

	"github.com/tributaryhq/tributary/internal/announce"
	"github.com/tributaryhq/tributary/internal/deferral"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/health"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/runstate"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

func (e *Executor) cancel(ctx context.Context, tx *postgres.Tx, integration *postgres.Integration, c *eventsv1.Command) (*reply, error) {
	run, err := tx.RunLockOpen(ctx, integration.ID)
	if postgres.NotFound(err) {
		return nil, reject("no run is open")
	}
	if err != nil {
		return nil, fmt.Errorf("look for an open run: %w", err)
	}
	purge, err := e.Cancel(ctx, tx, integration, run, c)
	return &reply{result: "cancelled", run: &run.ID, after: purge}, err
}

// Cancel closes a run. Purge removes its messages, and is called once that is committed; until then they are refused
// wherever they turn up.
func (e *Executor) Cancel(ctx context.Context, tx *postgres.Tx, integration *postgres.Integration, run *postgres.Run, c *eventsv1.Command) (purge func(context.Context) error, err error) {
	why := "cancelled"
	if c.GetReason() != "" {
		why += ": " + c.GetReason()
	}
	if c.GetBy() != "" {
		why += " (" + c.GetBy() + ")"
	}
	return func(ctx context.Context) error {
		return e.Bus.Purge(ctx, wire.StreamItems, wire.RunFilters(run.Provider, run.IntegrationID.String(), run.ID.String(), 0)...)
	}, e.Runs.Cancel(ctx, tx, integration, run, foreign.Line(why), e.Now())
}

func (e *Executor) pause(ctx context.Context, tx *postgres.Tx, integration *postgres.Integration, c *eventsv1.Command) (*reply, error) {
	if integration.Status == "paused" {
		return &reply{result: "paused already"}, nil
	}
	if integration.Status == "disabled" {
		return nil, reject("the integration is disabled: %s", orNone(integration.StatusReason))
	}
	return e.setStatus(ctx, tx, integration, "paused", "paused", c)
}

func (e *Executor) resume(ctx context.Context, tx *postgres.Tx, integration *postgres.Integration, c *eventsv1.Command) (*reply, error) {
	if integration.Status == "active" {
		return &reply{result: "active already"}, nil
	}
	if integration.Status == "disabled" {
		return e.enable(ctx, tx, integration, c)
	}
	if integration.Status == "reauth-required" {
		grant, err := tx.GrantGet(ctx, integration.ID)
		if err != nil {
			return nil, fmt.Errorf("read the grant: %w", err)
		}
		if grant.State != "connected" && grant.State != "uncertain" {
			return nil, reject("its user must authorize it first: make a link with tributary integrations connect %s", integration.Name)
		}
	}
	done, err := e.setStatus(ctx, tx, integration, "active", "resumed", c)
	if err != nil {
		return nil, err
	}
	return e.goOn(ctx, tx, integration, done)
}

// enable makes a disabled integration active again, and one of bad health healthy: whoever has mended the upstream need not wait for the proof.
func (e *Executor) enable(ctx context.Context, tx *postgres.Tx, integration *postgres.Integration, c *eventsv1.Command) (*reply, error) {
	switch {
	case integration.Status != "active" && integration.Status != "disabled":
		return nil, reject("the integration is %s, not disabled; resume it", integration.Status)
	case integration.Status == "active" && integration.Health == health.Healthy:
		return &reply{result: "enabled already"}, nil
	}
	if err := e.Health.Enable(ctx, tx, integration, foreign.Line(c.GetReason()), foreign.Word(c.GetBy()), e.Now()); err != nil {
		return nil, err
	}
	return e.goOn(ctx, tx, integration, &reply{result: "enabled"})
}

// goOn wakes the run that waited while the integration was not active.
func (e *Executor) goOn(ctx context.Context, tx *postgres.Tx, integration *postgres.Integration, done *reply) (*reply, error) {
	if err := tx.WaitsEnd(ctx, dbsqlc.WaitsEndParams{IntegrationID: integration.ID, Cause: string(deferral.Any), Now: e.Now()}); err != nil {
		return nil, fmt.Errorf("end waits of %s: %w", integration.ID, err)
	}
	run, err := tx.RunLockOpen(ctx, integration.ID)
	if postgres.NotFound(err) {
		return done, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for an open run: %w", err)
	}
	done.run = &run.ID
	if run.State != runstate.Waiting {
		// It is enumerated, or its items are worked on: those that wait are brought forward.
		return done, nil
	}
	return done, e.Runs.Resume(ctx, tx, e.Now(), run)
}

func (e *Executor) setStatus(ctx context.Context, tx *postgres.Tx, integration *postgres.Integration, status, what string, c *eventsv1.Command) (*reply, error) {
	now := e.Now()
	_, err := tx.IntegrationSetStatus(ctx, dbsqlc.IntegrationSetStatusParams{ID: integration.ID, Status: status, Reason: foreign.Line(c.GetReason()), Now: now})
	if err != nil {
		return nil, fmt.Errorf("set status: %w", err)
	}
	return &reply{result: what}, announce.Publish(ctx, tx, now, events.IntegrationChanged, integration, &eventsv1.IntegrationChanged{
		Integration: announce.Ref(integration), What: what, Reason: c.GetReason(), By: c.GetBy(),
	})
}
