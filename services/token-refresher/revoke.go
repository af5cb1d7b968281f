package tokenrefresher

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/announce"
	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/health"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// errBusy means that the grant is being refreshed for longer than somebody who revokes it can wait.
var errBusy = &api.Error{Code: api.Unavailable, Message: "the token is being refreshed at this moment; try again"}

// revoke ends a grant: upstream first, and only then here, so that a failure leaves everything as it was. Doing it
// again does nothing.
func (r *Refresher) revoke(ctx context.Context, id uuid.UUID, localOnly bool, by string) (api.TokenStatus, error) {
	access := postgres.Access{Who: orService(foreign.Word(by)), Why: "revoke the grant", At: r.Now()}
	grant, err := r.lease(ctx, id)
	if err != nil {
		return api.TokenStatus{}, err
	}
	if grant == nil {
		now, err := r.look(ctx, id)
		if err != nil {
			return api.TokenStatus{}, err
		}
		if now.TokenID == "" {
			return r.status(ctx, now, answer{})
		}
		// It has ended already, and what is left of it goes the same way.
	} else {
		defer r.leases.add(grant)()
	}
	a, err := r.open(ctx, id, access)
	if err == nil && !localOnly {
		err = r.callRevoke(ctx, a.flow, a.in)
	}
	r.Crash("token-refresher: revoked upstream")
	if err == nil {
		err = r.insist(ctx, func() error { return r.drop(ctx, grant, a, localOnly, access) })
	}
	if err != nil {
		if grant != nil {
			due := r.dueAt(grant.Provider, grant.ExpiresAt, grant.Refreshable)
			err = errors.Join(err, r.insist(ctx, func() error {
				return r.release(context.WithoutCancel(ctx), grant, due)
			}))
		}
		return api.TokenStatus{}, err
	}
	r.Log.Info("grant revoked", "integration", a.row.Name, "provider", a.row.Provider, "by", access.Who, "local_only",
		localOnly)
	now, err := r.look(ctx, id)
	if err != nil {
		return api.TokenStatus{}, err
	}
	return r.status(ctx, now, answer{})
}

// lease takes the grant, so that nobody refreshes what is being revoked; nil when there is none to take.
func (r *Refresher) lease(ctx context.Context, id uuid.UUID) (*postgres.Grant, error) {
	for pause := lookFirst; ; pause = min(2*pause, lookMost) {
		now, err := r.look(ctx, id)
		if err != nil {
			return nil, err
		}
		if now.State != "connected" && now.State != "uncertain" {
			return nil, nil
		}
		at := r.Now()
		grant, err := r.Store.GrantTake(ctx, dbsqlc.GrantTakeParams{
			IntegrationID: id, TokenID: now.TokenID,
			Holder: r.holder, Until: at.Add(r.Settings.Lease), Now: at, Abandoned: r.abandoned(),
		})
		if err == nil || !postgres.NotFound(err) {
			return grant, err
		}
		select {
		case <-ctx.Done():
			return nil, errBusy
		case <-time.After(pause):
		}
	}
}

func (r *Refresher) callRevoke(ctx context.Context, flow contracts.OAuth2, in *contracts.Integration) (err error) {
	_, err = ask(ctx, r, in.Provider(), "RevokeToken", func(ctx context.Context) (struct{}, error) {
		return struct{}{}, flow.RevokeToken(ctx, in)
	})
	if err != nil {
		err = redacted(flow, in, err)
		return &api.Error{Code: api.Refused, Message: fmt.Sprintf("the upstream did not revoke: %v; nothing was "+
			"changed here. If it is gone for good, drop the tokens with --local-only", err)}
	}
	return nil
}

// drop takes the tokens out of the credentials, and leaves the rest.
func (r *Refresher) drop(ctx context.Context, grant *postgres.Grant, a *account, localOnly bool,
	access postgres.Access,
) error {
	credentials, err := without(a.credentials)
	if err != nil {
		return err
	}
	return r.Store.InTx(ctx, func(tx *postgres.Tx) error {
		row, err := tx.IntegrationLock(ctx, a.row.ID)
		if err != nil {
			return fmt.Errorf("lock integration %s: %w", a.row.ID, err)
		}
		version := a.version
		if version > 0 {
			if version, err = r.Store.PutCredentials(ctx, tx, row.ID, credentials, version, access); err != nil {
				return err
			}
		}
		// Who authorizes next may be another.
		if err := health.KeepIdentity(ctx, tx.Queries, row.ID, nil, version); err != nil {
			return err
		}
		reason := foreign.Line("revoked by " + access.Who.String())
		if grant == nil {
			// Ended before: the row follows what the credentials say now.
			_, err = tx.GrantAdopt(ctx, dbsqlc.GrantAdoptParams{
				IntegrationID: row.ID, Provider: row.Provider, State: "revoked", CredentialsVersion: version,
				Reason: reason, Now: access.At,
			})
		} else {
			err = allowed(tx.GrantEnd(ctx, dbsqlc.GrantEndParams{
				IntegrationID: row.ID, Fence: grant.Fence, State: "revoked", Reason: reason,
				CredentialsVersion: version, Now: access.At,
			}))
		}
		if err != nil {
			return err
		}
		if err := r.hold(ctx, tx, row, reason); err != nil {
			return err
		}
		if err := health.Clear(ctx, tx, row, health.SourceToken, reason, access.At); err != nil {
			return err
		}
		return announce.Publish(ctx, tx, access.At, events.OAuthRevoked, row,
			&eventsv1.OAuthRevoked{Integration: announce.Ref(row), By: access.Who.String(), LocalOnly: localOnly})
	})
}

// revokeDeleted revokes the grants of integrations that were deleted, again and again within limits. It does so side by
// side: an upstream that hangs must not hold up the others.
func (r *Refresher) revokeDeleted(ctx context.Context) error {
	now := r.Now()
	rows, err := r.Store.RevocationTakeDue(ctx, dbsqlc.RevocationTakeDueParams{
		Providers: r.keys, Now: now, Until: now.Add(r.Settings.Lease + 2*r.Settings.Call),
		Most: int32(r.Settings.Concurrency),
	})
	if err != nil {
		return fmt.Errorf("look for grants to revoke: %w", err)
	}
	problems := make([]error, len(rows))
	var working sync.WaitGroup
	for i, row := range rows {
		working.Go(func() { problems[i] = r.revokeOne(ctx, row) })
	}
	working.Wait()
	return errors.Join(problems...)
}

func (r *Refresher) revokeOne(ctx context.Context, row *dbsqlc.OauthRevocation) error {
	gone := &postgres.Integration{ID: row.IntegrationID, Provider: row.Provider, Name: row.Name, Owner: row.Owner}
	credentials, why := r.Store.OpenRevocation(row)
	if why == nil {
		in := r.integration(contracts.IntegrationFields{
			ID: row.IntegrationID.String(), Provider: row.Provider, Name: row.Name, Owner: row.Owner,
			Credentials: credentials, Metadata: row.Metadata,
		})
		why = r.callRevoke(ctx, r.flows[row.Provider], in)
	}
	told := &eventsv1.OAuthRevoked{Integration: announce.Ref(gone), By: serviceName, Deleted: true}
	if why != nil {
		if r.Now().Sub(row.CreatedAt) < r.Settings.RevokeFor {
			wait := min(r.Settings.Backoff<<min(row.Failures, 10), r.Settings.BackoffMost)
			return r.Store.RevocationPutOff(ctx, dbsqlc.RevocationPutOffParams{
				IntegrationID: row.IntegrationID,
				Reason:        foreign.Of(why), DueAt: r.Now().Add(wait),
			})
		}
		r.Log.Error("the grant of a deleted integration could not be revoked, given up", "integration", row.Name,
			"provider", row.Provider, "error", why)
		told.Error = foreign.Of(why).String()
	}
	return r.Store.InTx(ctx, func(tx *postgres.Tx) error {
		deleted, err := tx.RevocationDelete(ctx, row.IntegrationID)
		if err != nil || deleted == 0 {
			return err
		}
		return announce.Publish(ctx, tx, r.Now(), events.OAuthRevoked, gone, told)
	})
}
