package tokenrefresher

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/announce"
	"github.com/tributaryhq/tributary/internal/deferral"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/setaside"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// statusReauth is the status of an integration that waits for its user: nothing of it is synced or handled, and what is
// under way is put aside.
const statusReauth = "reauth-required"

// sweepAtATime bounds what one step of a sweep turns to.
const sweepAtATime = 500

// hold stops an active integration until its user has authorized. One that a person has paused stays as it is.
func (r *Refresher) hold(ctx context.Context, tx *postgres.Tx, row *postgres.Integration, reason foreign.Text) error {
	if row.Status != "active" {
		_, err := tx.IntegrationTouch(ctx, r.Now(), row.ID)
		return err
	}
	_, err := tx.IntegrationSetStatus(ctx, dbsqlc.IntegrationSetStatusParams{
		ID: row.ID, Status: statusReauth,
		Reason: reason, Now: r.Now(),
	})
	if err != nil {
		return fmt.Errorf("stop integration %s: %w", row.ID, err)
	}
	return announce.Publish(ctx, tx, r.Now(), events.IntegrationChanged, row,
		&eventsv1.IntegrationChanged{
			Integration: announce.Ref(row), What: statusReauth, Reason: reason.String(),
			By: serviceName,
		})
}

// letGo has the scheduler resume an integration that was held, by the command that an operator would use: what was put
// aside goes on, from where the cursor is.
func letGo(ctx context.Context, tx *postgres.Tx, row *postgres.Integration, access postgres.Access) error {
	if err := tx.WaitsEnd(ctx, dbsqlc.WaitsEndParams{
		IntegrationID: row.ID, Cause: string(deferral.Token),
		Now: access.At,
	}); err != nil {
		return fmt.Errorf("end waits of %s: %w", row.ID, err)
	}
	if row.Status != statusReauth {
		return nil
	}
	m, err := wire.NewWork(events.CommandSubject(events.VerbResume, row.ID.String()), "",
		&eventsv1.Command{By: access.Who.String(), Reason: access.Why.String()})
	if err != nil {
		return err
	}
	return tx.Publish(ctx, access.At, postgres.Outgoing(m))
}

// holdStrays stops integrations that somebody has resumed though they have no grant.
func (r *Refresher) holdStrays(ctx context.Context) error {
	return r.each(ctx, setaside.HoldStray, r.Store.GrantStray, func(ctx context.Context, id uuid.UUID) error {
		return r.Store.InTx(ctx, func(tx *postgres.Tx) error {
			row, err := tx.IntegrationLock(ctx, id)
			if err != nil {
				return err
			}
			grant, err := tx.GrantGet(ctx, id)
			if err != nil || grant.State == "connected" || grant.State == "uncertain" {
				return err
			}
			return r.hold(ctx, tx, row, foreign.Line(grant.Reason))
		})
	})
}

// adoptChanged takes over what was written by somebody else: integrations that are new, and credentials that were
// changed by hand.
func (r *Refresher) adoptChanged(ctx context.Context) error {
	return r.each(ctx, setaside.AdoptToken, r.Store.GrantUnadopted, r.adopt)
}

// each runs a step for each integration of a list. One that is gone meanwhile is done.
func (r *Refresher) each(ctx context.Context, kind setaside.Kind,
	list func(context.Context, []string, int32) ([]uuid.UUID, error),
	step func(context.Context, uuid.UUID) error,
) error {
	return setaside.Run(ctx, r.SetAside, setaside.Sweep[uuid.UUID]{
		Kind: kind, Most: sweepAtATime, Name: func(id uuid.UUID) setaside.Element { return setaside.Of(id, id) },
		List: func(ctx context.Context, most int32) ([]uuid.UUID, error) {
			ids, err := list(ctx, r.keys, most)
			if err != nil {
				return nil, fmt.Errorf("list integrations to %s: %w", kind, err)
			}
			return ids, nil
		},
		Step: func(ctx context.Context, id uuid.UUID) error {
			if err := step(ctx, id); err != nil && !postgres.NotFound(err) {
				return err
			}
			return nil
		},
	})
}

// adopt makes a grant of what an integration's credentials hold.
func (r *Refresher) adopt(ctx context.Context, id uuid.UUID) error {
	access := postgres.Access{Who: serviceName, Why: "look for tokens", At: r.Now()}
	a, err := r.open(ctx, id, access)
	if err != nil {
		return err
	}
	p := r.adoption(a, access.At)
	return r.Store.InTx(ctx, func(tx *postgres.Tx) error {
		row, err := tx.IntegrationLock(ctx, id)
		if err != nil {
			return err
		}
		now, err := tx.GrantGet(ctx, id)
		if err != nil || now.CredentialsNow != a.version {
			return err
		}
		grant, err := tx.GrantAdopt(ctx, p)
		if err != nil {
			return err
		}
		switch {
		case grant.State == "connected":
			return letGo(ctx, tx, row, postgres.Access{Who: serviceName, Why: "it has new tokens", At: access.At})
		case grant.State == "missing" && row.Status == "active":
			return r.hold(ctx, tx, row, grant.Reason)
		}
		return nil
	})
}

// adoption is the grant that an account's credentials make.
func (r *Refresher) adoption(a *account, now time.Time) dbsqlc.GrantAdoptParams {
	p := dbsqlc.GrantAdoptParams{
		IntegrationID: a.row.ID, Provider: a.row.Provider, State: "connected", TokenID: a.tokenID,
		CredentialsVersion: a.version, ExpiresAt: a.token.ExpiresAt,
		Refreshable: a.refreshable(), DueAt: r.dueAt(a.row.Provider, a.token.ExpiresAt, a.refreshable()), Now: now,
	}
	_, signs := a.flow.(contracts.Authenticator)
	switch {
	case a.tokenID == "" && a.unattended(), a.token.AccessToken == "" && a.token.RefreshToken != "":
		p.DueAt = &p.Now
	case a.tokenID == "" && !signs:
		p.State = "missing"
		p.Reason = foreign.Line("its user has not authorized it yet; make a link for that with: tributary " +
			"integrations connect " + a.row.Name)
	}
	return p
}
