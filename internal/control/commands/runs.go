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

func (e *Executor) cancel(
	ctx context.Context, tx *postgres.Tx, in *postgres.Integration, c *eventsv1.Command,
) (*reply, error) {
	run, err := tx.RunLockOpen(ctx, in.ID)
	if postgres.NotFound(err) {
		return nil, reject("no run is open")
	}
	if err != nil {
		return nil, fmt.Errorf("look for an open run: %w", err)
	}
	purge, err := e.Cancel(ctx, tx, in, run, c)
	return &reply{result: "cancelled", run: &run.ID, after: purge}, err
}

// Cancel closes a run. The caller calls purge after the commit, to delete the run's messages. Workers refuse the
// messages anyway.
func (e *Executor) Cancel(
	ctx context.Context, tx *postgres.Tx, in *postgres.Integration, run *postgres.Run, c *eventsv1.Command,
) (purge func(context.Context) error, err error) {
	why := "cancelled"
	if c.GetReason() != "" {
		why += ": " + c.GetReason()
	}
	if c.GetBy() != "" {
		why += " (" + c.GetBy() + ")"
	}
	return func(ctx context.Context) error {
		return e.Bus.Purge(
			ctx, wire.StreamItems, wire.RunFilters(run.Provider, run.IntegrationID.String(), run.ID.String(), 0)...,
		)
	}, e.Runs.Cancel(ctx, tx, in, run, foreign.Line(why), e.Now())
}

func (e *Executor) pause(
	ctx context.Context, tx *postgres.Tx, in *postgres.Integration, c *eventsv1.Command,
) (*reply, error) {
	if in.Status == "paused" {
		return &reply{result: "paused already"}, nil
	}
	if in.Status == "disabled" {
		return nil, reject("the integration is disabled: %s", orNone(in.StatusReason))
	}
	return e.setStatus(ctx, tx, in, "paused", "paused", c)
}

func (e *Executor) resume(
	ctx context.Context, tx *postgres.Tx, in *postgres.Integration, c *eventsv1.Command,
) (*reply, error) {
	if in.Status == "active" {
		return &reply{result: "active already"}, nil
	}
	if in.Status == "disabled" {
		return e.enable(ctx, tx, in, c)
	}
	if in.Status == "reauth-required" {
		grant, err := tx.GrantGet(ctx, in.ID)
		if err != nil {
			return nil, fmt.Errorf("read the grant: %w", err)
		}
		if grant.State != "connected" && grant.State != "uncertain" {
			return nil, reject(
				"its user must authorize it first: make a link with tributary integrations connect %s", in.Name,
			)
		}
	}
	done, err := e.setStatus(ctx, tx, in, "active", "resumed", c)
	if err != nil {
		return nil, err
	}
	return e.goOn(ctx, tx, in, done)
}

// enable makes a disabled integration active again. An active one of bad health becomes healthy, without waiting for
// its next health check.
func (e *Executor) enable(
	ctx context.Context, tx *postgres.Tx, in *postgres.Integration, c *eventsv1.Command,
) (*reply, error) {
	switch {
	case in.Status != "active" && in.Status != "disabled":
		return nil, reject("the integration is %s, not disabled; resume it", in.Status)
	case in.Status == "active" && in.Health == health.Healthy:
		return &reply{result: "enabled already"}, nil
	}
	if err := e.Health.Enable(ctx, tx, in, foreign.Line(c.GetReason()), foreign.Word(c.GetBy()), e.Now()); err != nil {
		return nil, err
	}
	return e.goOn(ctx, tx, in, &reply{result: "enabled"})
}

// goOn ends the waits of an integration that has become active, and wakes its run.
func (e *Executor) goOn(ctx context.Context, tx *postgres.Tx, in *postgres.Integration, done *reply) (*reply, error) {
	if err := tx.WaitsEnd(
		ctx, dbsqlc.WaitsEndParams{IntegrationID: in.ID, Cause: string(deferral.Any), Now: e.Now()},
	); err != nil {
		return nil, fmt.Errorf("end waits of %s: %w", in.ID, err)
	}
	run, err := tx.RunLockOpen(ctx, in.ID)
	if postgres.NotFound(err) {
		return done, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for an open run: %w", err)
	}
	done.run = &run.ID
	if run.State != runstate.Waiting {
		// It is enumerated, or its items are worked on. The end of the waits brings its items forward.
		return done, nil
	}
	return done, e.Runs.Resume(ctx, tx, e.Now(), run)
}

func (e *Executor) setStatus(
	ctx context.Context, tx *postgres.Tx, in *postgres.Integration, status, what string, c *eventsv1.Command,
) (*reply, error) {
	now := e.Now()
	_, err := tx.IntegrationSetStatus(
		ctx,
		dbsqlc.IntegrationSetStatusParams{ID: in.ID, Status: status, Reason: foreign.Line(c.GetReason()), Now: now},
	)
	if err != nil {
		return nil, fmt.Errorf("set status: %w", err)
	}
	told := &eventsv1.IntegrationChanged{
		Integration: announce.Ref(in), What: what, Reason: c.GetReason(), By: c.GetBy(),
	}
	return &reply{result: what}, announce.Publish(ctx, tx, now, events.IntegrationChanged, in, told)
}
