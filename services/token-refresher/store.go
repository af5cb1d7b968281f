package tokenrefresher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tributaryhq/tributary/internal/deferral"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/health"
	"github.com/tributaryhq/tributary/internal/integrations"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// storeEvery is how often it is tried to store tokens while Postgres can't be reached.
const storeEvery = 250 * time.Millisecond

// insist does what must not fail for the database's absence: the upstream has spent the old refresh token, and the new one is here and nowhere else.
func (r *Refresher) insist(ctx context.Context, write func() error) error {
	for {
		err := write()
		if err == nil || !postgres.Unavailable(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(storeEvery):
		}
	}
}

// replaced are tokens as they stand among the credentials.
type replaced struct {
	id      string
	whole   contracts.Token
	version int64
	now     time.Time
}

// replace writes a token over the credentials, and notes it in the same transaction.
func (r *Refresher) replace(ctx context.Context, grant *postgres.Grant, a *account, token contracts.Token,
	note func(*postgres.Tx, *postgres.Integration, replaced) error,
) error {
	access := postgres.Access{Who: serviceName, Why: "store the refreshed token", At: r.Now()}
	for {
		next, err := r.replaceOnce(ctx, grant, a, token, access, note)
		if err == nil {
			r.castNew(ctx, grant, a, next)
		}
		if !errors.Is(err, postgres.ErrCredentialsChanged) {
			return err
		}
		again, err := r.open(ctx, grant.IntegrationID, access)
		switch {
		case err != nil:
			return err
		case again.tokenID == next.id:
			// It was written before, and the answer to the commit was lost.
			next.version = again.version
			r.castNew(ctx, grant, a, next)
			return nil
		case again.tokenID != grant.TokenID:
			// Somebody has changed the tokens, and theirs are newer than ours. Another field does not matter.
			return errFenced
		}
		*a = *again
	}
}

// castNew keeps a refresh token beside the database that is another than before.
func (r *Refresher) castNew(ctx context.Context, grant *postgres.Grant, a *account, next replaced) {
	if next.whole.RefreshToken != "" && next.whole.RefreshToken != a.token.RefreshToken {
		r.cast(ctx, grant.IntegrationID, next.whole, next.version)
	}
}

func (r *Refresher) replaceOnce(ctx context.Context, grant *postgres.Grant, a *account, token contracts.Token, access postgres.Access,
	note func(*postgres.Tx, *postgres.Integration, replaced) error,
) (next replaced, err error) {
	credentials, err := merged(a.credentials, token)
	if err != nil {
		return next, err
	}
	next.now = access.At
	if next.id, next.whole, err = tokenIDOf(credentials); err != nil {
		return next, err
	}
	return next, r.Store.InTx(ctx, func(tx *postgres.Tx) error {
		row, err := tx.IntegrationLock(ctx, grant.IntegrationID)
		if err != nil {
			return fmt.Errorf("lock integration %s: %w", grant.IntegrationID, err)
		}
		if next.version, err = r.Store.PutCredentials(ctx, tx, row.ID, credentials, a.version, access); err != nil {
			return err
		}
		if err := note(tx, row, next); err != nil {
			return err
		}
		if _, err := tx.IntegrationTouch(ctx, next.now, row.ID); err != nil {
			return fmt.Errorf("raise the version of %s: %w", row.ID, err)
		}
		return nil
	})
}

// store writes new tokens over the credentials, if the fence still allows it.
func (r *Refresher) store(ctx context.Context, grant *postgres.Grant, a *account, token contracts.Token, seen clock) error {
	return r.replace(ctx, grant, a, token, func(tx *postgres.Tx, row *postgres.Integration, next replaced) error {
		refreshable := next.whole.RefreshToken != "" || a.unattended()
		life := r.lifeOf(grant, next.whole, seen)
		written, err := tx.GrantRefreshed(ctx, dbsqlc.GrantRefreshedParams{
			IntegrationID: row.ID, Fence: grant.Fence, TokenID: next.id, CredentialsVersion: next.version, ExpiresAt: next.whole.ExpiresAt, Now: next.now,
			Refreshable: refreshable, DueAt: life.due(r.dueAt(a.row.Provider, next.whole.ExpiresAt, refreshable)), Brief: life.brief, Reason: foreign.Line(life.reason),
		})
		if err := r.allowed(written, err); err != nil {
			return err
		}
		switch {
		case life.reason != "":
			err = health.Raise(ctx, tx, row, health.Signal{Source: health.SourceToken, Severity: health.Failing, Reason: foreign.Line(life.reason)}, next.now)
		case life.brief == 0 && (grant.Failures > 0 || grant.Brief > 0):
			err = health.Clear(ctx, tx, row, health.SourceToken, "the token was refreshed", next.now)
		}
		if err == nil && grant.Failures > 0 {
			err = tx.WaitsEnd(ctx, dbsqlc.WaitsEndParams{IntegrationID: row.ID, Cause: string(deferral.Token), Now: next.now})
		}
		if err != nil {
			return err
		}
		told := &eventsv1.TokenRefreshed{Integration: ref(row), ExpiresAt: stampOf(next.whole.ExpiresAt)}
		return publish(ctx, tx, next.now, events.TokenRefreshed, row, told)
	})
}

// keep stores the refresh token of an answer whose access token is no good. The old access token stays.
func (r *Refresher) keep(ctx context.Context, grant *postgres.Grant, a *account, token contracts.Token) error {
	return r.replace(ctx, grant, a, token, func(tx *postgres.Tx, row *postgres.Integration, next replaced) error {
		written, err := tx.GrantKept(ctx, dbsqlc.GrantKeptParams{
			IntegrationID: row.ID, Fence: grant.Fence, TokenID: next.id, CredentialsVersion: next.version, Now: next.now,
		})
		if err := r.allowed(written, err); err != nil {
			return err
		}
		grant.TokenID, grant.CredentialsVersion, grant.State, grant.Lost = next.id, next.version, "connected", 0
		return nil
	})
}

// allowed is [errFenced] when the fence let nothing be written.
func (*Refresher) allowed(written int64, err error) error {
	if err != nil {
		return fmt.Errorf("note what came of a refresh: %w", err)
	}
	if written == 0 {
		return errFenced
	}
	return nil
}

func tokenIDOf(credentials json.RawMessage) (string, contracts.Token, error) {
	return integrations.TokenID(contracts.NewIntegration(contracts.IntegrationFields{Credentials: credentials}))
}
