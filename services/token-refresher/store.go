package tokenrefresher

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/tributaryhq/tributary/internal/announce"
	"github.com/tributaryhq/tributary/internal/deferral"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/health"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

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

func (r *Refresher) replaceOnce(ctx context.Context, grant *postgres.Grant, a *account, token contracts.Token,
	access postgres.Access,
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
func (r *Refresher) store(ctx context.Context, grant *postgres.Grant, a *account, token contracts.Token,
	seen clock,
) error {
	return r.replace(ctx, grant, a, token, func(tx *postgres.Tx, row *postgres.Integration, next replaced) error {
		refreshable := next.whole.RefreshToken != "" || a.unattended()
		life := r.lifeOf(grant, next.whole, seen)
		written, err := tx.GrantRefreshed(ctx, dbsqlc.GrantRefreshedParams{
			IntegrationID: row.ID, Fence: grant.Fence, TokenID: next.id, CredentialsVersion: next.version,
			ExpiresAt: next.whole.ExpiresAt, Now: next.now,
			Refreshable: refreshable, DueAt: life.due(r.dueAt(a.row.Provider, next.whole.ExpiresAt, refreshable)),
			Brief: life.brief, Reason: foreign.Line(life.reason),
		})
		if err := allowed(written, err); err != nil {
			return err
		}
		switch {
		case life.reason != "":
			err = health.Raise(ctx, tx, row, health.Signal{
				Source: health.SourceToken, Severity: health.Failing,
				Reason: foreign.Line(life.reason),
			}, next.now)
		case life.brief == 0 && (grant.Failures > 0 || grant.Brief > 0):
			err = health.Clear(ctx, tx, row, health.SourceToken, "the token was refreshed", next.now)
		}
		if err == nil && grant.Failures > 0 {
			err = tx.WaitsEnd(ctx, dbsqlc.WaitsEndParams{
				IntegrationID: row.ID, Cause: string(deferral.Token),
				Now: next.now,
			})
		}
		if err != nil {
			return err
		}
		told := &eventsv1.TokenRefreshed{Integration: announce.Ref(row), ExpiresAt: stampOf(next.whole.ExpiresAt)}
		return announce.Publish(ctx, tx, next.now, events.TokenRefreshed, row, told)
	})
}

// keep stores the refresh token of an answer whose access token is no good. The old access token stays.
func (r *Refresher) keep(ctx context.Context, grant *postgres.Grant, a *account, token contracts.Token) error {
	return r.replace(ctx, grant, a, token, func(tx *postgres.Tx, row *postgres.Integration, next replaced) error {
		written, err := tx.GrantKept(ctx, dbsqlc.GrantKeptParams{
			IntegrationID: row.ID, Fence: grant.Fence, TokenID: next.id, CredentialsVersion: next.version,
			Now: next.now,
		})
		if err := allowed(written, err); err != nil {
			return err
		}
		grant.TokenID, grant.CredentialsVersion, grant.State, grant.Lost = next.id, next.version, "connected", 0
		return nil
	})
}

// life is how long a new token lasts.
type life struct {
	// brief counts the tokens in a row that ended on arrival, or soon after.
	brief int32
	// notBefore is the earliest time of the next refresh.
	notBefore time.Time
	// reason is what is wrong with it; empty when nothing is.
	reason string
}

// lifeOf looks at the life of a new token. Tokens that last for less than the floor are not refreshed all the time: the
// floor doubles from one to the next.
func (r *Refresher) lifeOf(grant *postgres.Grant, token contracts.Token, seen clock) life {
	now := r.Now()
	if token.ExpiresAt == nil || token.ExpiresAt.Sub(now) >= r.Settings.Floor {
		return life{}
	}
	l := life{brief: grant.Brief + 1}
	l.notBefore = now.Add(min(r.Settings.Floor<<min(grant.Brief, 10), r.Settings.BackoffMost))
	lasts := token.ExpiresAt.Sub(now).Round(time.Second)
	switch {
	case lasts <= lastSecond:
		l.reason = fmt.Sprintf("the token that was granted had ended when it came, or will within a second (it ends "+
			"at %s, and it is %s)%s",
			token.ExpiresAt.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339), seen)
	case l.brief >= r.Settings.TroubleAfter:
		l.reason = fmt.Sprintf("the upstream grants tokens that last for %s only%s", lasts, seen)
	}
	return l
}

// due puts a refresh off to the floor.
func (l life) due(at *time.Time) *time.Time {
	if at != nil && at.Before(l.notBefore) {
		return &l.notBefore
	}
	return at
}

// dueAt is when a token is refreshed: its provider's threshold before it expires, and up to as much earlier, so that
// tokens that were granted together are not refreshed together. A token whose life is short is refreshed after about
// half of it. One that can't be refreshed is looked at when it ends.
func (r *Refresher) dueAt(provider string, expires *time.Time, refreshable bool) *time.Time {
	if expires == nil {
		return nil
	}
	if !refreshable {
		return expires
	}
	threshold := cmp.Or(r.thresholds[provider], contracts.DefaultRefreshThreshold)
	life := max(expires.Sub(r.Now()), 0)
	due := expires.Add(-min(threshold+rand.N(threshold), life/2+rand.N(life/8+1)))
	return &due
}
