package tokenrefresher

import (
	"context"
	"errors"
	"time"

	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// errFenced means that the grant was taken over or replaced meanwhile: what came of the refresh must not be written any more.
var errFenced = errors.New("the grant has another holder by now")

// refresh gets a new token under a lease that was taken, with the intent written. Whatever comes of it is written down; an error that can't be is logged, and then the lease
// ends by itself and the next holder finds the intent.
func (r *Refresher) refresh(ctx context.Context, grant *postgres.Grant) {
	defer r.leases.add(grant)()
	started := r.Now()
	outcome, err := r.attempt(ctx, grant)
	switch {
	case errors.Is(err, errFenced), postgres.NotFound(err):
		r.Log.Warn("a refresh came too late, or its integration is gone; nothing of it was written", "integration", grant.IntegrationID, "provider", grant.Provider)
		outcome = "fenced"
	case err != nil:
		r.Log.Error("could not write down what came of a refresh", "integration", grant.IntegrationID, "provider", grant.Provider, "error", err)
		outcome = "unwritten"
	}
	r.Metrics.refreshed(grant.Provider, outcome, r.Now().Sub(started))
}

// attempt is one refresh. Its end is written down in any case, also when nothing was sent. An intent that stays would
// count as the death of its holder.
func (r *Refresher) attempt(ctx context.Context, grant *postgres.Grant) (outcome string, err error) {
	release := func(due *time.Time) error {
		return r.insist(ctx, func() error { return r.release(ctx, grant, due) })
	}
	fail := func(f failure) error { return r.insist(ctx, func() error { return r.fail(ctx, grant, f) }) }
	a, err := r.open(ctx, grant.IntegrationID, postgres.Access{Who: serviceName, Why: "refresh the token", At: r.Now()})
	switch {
	case postgres.NotFound(err):
		return "", err
	case err != nil:
		return "failed", fail(failure{why: err})
	}
	end := func(reason foreign.Text) error {
		return r.insist(ctx, func() error { return r.end(ctx, grant, a, reason) })
	}
	switch restored, err := r.restore(ctx, a); {
	case restored || errors.Is(err, postgres.ErrCredentialsChanged):
		return "restored", err
	case err != nil:
		// A token that is spent must not be sent.
		r.Log.Warn("NATS does not tell whether a newer token is known; the refresh waits", "integration", grant.IntegrationID, "error", err)
		due := r.Now().Add(r.Settings.Backoff)
		return "waiting", release(&due)
	case a.tokenID != grant.TokenID:
		// Somebody has written other ones, which the sweep adopts.
		return "superseded", release(nil)
	case !a.refreshable() && a.hasEnded(r.Now()):
		return "ended", end("the token has expired, and there is no refresh token")
	case !a.refreshable():
		return "superseded", release(a.token.ExpiresAt)
	case grant.Lost >= mostLost && !a.unattended():
		return "ended", end("the processes that refreshed it died before they had an answer")
	}
	r.Crash("token-refresher: intent written")
	started := time.Now()
	var seen clock
	token, err := r.call(ctx, a, &seen)
	r.Crash("token-refresher: answered")
	if err == nil {
		sent := *a
		err = r.insist(ctx, func() error { return r.store(ctx, grant, a, token, seen) })
		r.Crash("token-refresher: stored")
		if errors.Is(err, errFenced) {
			return r.late(ctx, grant, &sent, token)
		}
		return "refreshed", err
	}
	kept := token.RefreshToken != "" && token.RefreshToken != a.token.RefreshToken && !contracts.IsPermanent(err)
	if kept {
		// An answer that holds a token is stored before it is judged.
		token.AccessToken, token.ExpiresAt = a.token.AccessToken, a.token.ExpiresAt
		sent := *a
		unwritten := r.insist(ctx, func() error { return r.keep(ctx, grant, a, token) })
		if errors.Is(unwritten, errFenced) {
			return r.late(ctx, grant, &sent, token)
		}
		if unwritten != nil {
			return "", unwritten
		}
		r.Crash("token-refresher: kept")
	}
	f := r.judge(grant, a, err, time.Since(started) >= r.Settings.Call)
	if kept {
		f.uncertain, f.lost = false, false
	}
	if f.ends != "" {
		return "ended", end(foreign.Line(f.ends))
	}
	outcome = "failed"
	if f.uncertain {
		outcome = "uncertain"
	}
	return outcome, fail(f)
}

// late is for a token that came after the fence had moved on. It is stored only if Postgres went back meanwhile.
func (r *Refresher) late(ctx context.Context, grant *postgres.Grant, sent *account, token contracts.Token) (outcome string, err error) {
	rescued := false
	err = r.insist(ctx, func() (err error) { rescued, err = r.rescue(ctx, grant, sent, token); return err })
	if rescued || err != nil {
		return "restored", err
	}
	return "fenced", errFenced
}

// call asks the upstream, once. A token that comes with an error is no good, but may be all that is left.
func (r *Refresher) call(ctx context.Context, a *account, seen *clock) (token contracts.Token, err error) {
	token, err = ask(seen.in(ctx), r, a.row.Provider, "RefreshToken", func(ctx context.Context) (contracts.Token, error) {
		return a.flow.RefreshToken(ctx, a.in)
	})
	token = r.onOurClock(token)
	if err == nil {
		err = sendable(token)
	}
	return token, a.redacted(err)
}

func (r *Refresher) release(ctx context.Context, grant *postgres.Grant, due *time.Time) error {
	written, err := r.Store.GrantReleased(ctx, dbsqlc.GrantReleasedParams{IntegrationID: grant.IntegrationID, Fence: grant.Fence, DueAt: due, Now: r.Now()})
	if err == nil && written == 0 {
		return errFenced
	}
	return err
}
