package tokenrefresher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributaryhq/tributary/internal/announce"
	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/health"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// errFenced means that the grant was taken over or replaced meanwhile: what came of the refresh must not be written any
// more.
var errFenced = errors.New("the grant has another holder by now")

// refresh gets a new token under a lease that was taken, with the intent written. Its outcome is written down. If that
// can't be done, the error is logged: the lease ends by itself, and the next holder finds the intent.
func (r *Refresher) refresh(ctx context.Context, grant *postgres.Grant) {
	defer r.leases.add(grant)()
	started := r.Now()
	outcome, err := r.attempt(ctx, grant)
	switch {
	case errors.Is(err, errFenced), postgres.NotFound(err):
		r.Log.Warn("a refresh came too late, or its integration is gone; nothing of it was written", "integration",
			grant.IntegrationID, "provider", grant.Provider)
		outcome = "fenced"
	case err != nil:
		r.Log.Error("could not write down what came of a refresh", "integration", grant.IntegrationID, "provider",
			grant.Provider, "error", err)
		outcome = "unwritten"
	}
	r.Metrics.refreshed(grant.Provider, outcome, r.Now().Sub(started))
}

// attempt is one refresh. Its outcome is written down in any case, also when nothing was sent: an intent that stays
// would count as the death of its holder.
func (r *Refresher) attempt(ctx context.Context, grant *postgres.Grant) (outcome string, err error) {
	a, err := r.open(ctx, grant.IntegrationID, postgres.Access{Who: serviceName, Why: "refresh the token", At: r.Now()})
	switch {
	case postgres.NotFound(err):
		return "", err
	case err != nil:
		return "failed", r.insist(ctx, func() error { return r.fail(ctx, grant, failure{why: err}) })
	}
	if outcome, err := r.withoutCall(ctx, grant, a); outcome != "" {
		return outcome, err
	}
	r.Crash("token-refresher: intent written")
	started := time.Now()
	var seen clock
	token, err := r.call(ctx, a, &seen)
	r.Crash("token-refresher: answered")
	if err != nil {
		return r.failed(ctx, grant, a, token, err, time.Since(started) >= r.Settings.Call)
	}
	sent := *a
	err = r.insist(ctx, func() error { return r.store(ctx, grant, a, token, seen) })
	r.Crash("token-refresher: stored")
	if errors.Is(err, errFenced) {
		return r.late(ctx, grant, &sent, token)
	}
	return "refreshed", err
}

// withoutCall is the outcome of a refresh that needs no call of the upstream, or must not make one. It is empty for one
// that does.
func (r *Refresher) withoutCall(ctx context.Context, grant *postgres.Grant, a *account) (outcome string, err error) {
	release := func(due *time.Time) error {
		return r.insist(ctx, func() error { return r.release(ctx, grant, due) })
	}
	end := func(reason foreign.Text) error {
		return r.insist(ctx, func() error { return r.end(ctx, grant, a, reason) })
	}
	switch restored, err := r.restore(ctx, a); {
	case restored || errors.Is(err, postgres.ErrCredentialsChanged):
		return "restored", err
	case err != nil:
		// A token that is spent must not be sent.
		r.Log.Warn("NATS does not tell whether a newer token is known; the refresh waits", "integration",
			grant.IntegrationID, "error", err)
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
	return "", nil
}

// call asks the upstream, once. A token that comes with an error is no good, but may be all that is left.
func (r *Refresher) call(ctx context.Context, a *account, seen *clock) (token contracts.Token, err error) {
	token, err = ask(seen.in(ctx), r, a.row.Provider, "RefreshToken",
		func(ctx context.Context) (contracts.Token, error) {
			return a.flow.RefreshToken(ctx, a.in)
		})
	token = r.onOurClock(token)
	if err == nil {
		err = sendable(token)
	}
	return token, a.redacted(err)
}

// failed decides what a call that failed means for the grant, and writes it down. An answer that holds a new refresh
// token is stored before it is judged.
func (r *Refresher) failed(ctx context.Context, grant *postgres.Grant, a *account, token contracts.Token, why error,
	slow bool,
) (outcome string, err error) {
	kept := token.RefreshToken != "" && token.RefreshToken != a.token.RefreshToken && !contracts.IsPermanent(why)
	if kept {
		token.AccessToken, token.ExpiresAt = a.token.AccessToken, a.token.ExpiresAt
		sent := *a
		err := r.insist(ctx, func() error { return r.keep(ctx, grant, a, token) })
		if errors.Is(err, errFenced) {
			return r.late(ctx, grant, &sent, token)
		}
		if err != nil {
			return "", err
		}
		r.Crash("token-refresher: kept")
	}
	f := r.judge(grant, a, why, slow)
	if kept {
		f.uncertain, f.lost = false, false
	}
	if f.ends != "" {
		return "ended", r.insist(ctx, func() error { return r.end(ctx, grant, a, foreign.Line(f.ends)) })
	}
	outcome = "failed"
	if f.uncertain {
		outcome = "uncertain"
	}
	return outcome, r.insist(ctx, func() error { return r.fail(ctx, grant, f) })
}

// late is for a token that came after the fence had moved on. It is stored only if Postgres went back meanwhile.
func (r *Refresher) late(ctx context.Context, grant *postgres.Grant, sent *account, token contracts.Token) (
	outcome string, err error,
) {
	rescued := false
	err = r.insist(ctx, func() (err error) { rescued, err = r.rescue(ctx, grant, sent, token); return err })
	if rescued || err != nil {
		return "restored", err
	}
	return "fenced", errFenced
}

// storeEvery is how often it is tried to store tokens while Postgres can't be reached.
const storeEvery = 250 * time.Millisecond

// insist does what must not fail for the database's absence: the upstream has spent the old refresh token, and the new
// one is here and nowhere else.
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

// release gives the lease back; nothing was sent.
func (r *Refresher) release(ctx context.Context, grant *postgres.Grant, due *time.Time) error {
	written, err := r.Store.GrantReleased(ctx, dbsqlc.GrantReleasedParams{
		IntegrationID: grant.IntegrationID,
		Fence:         grant.Fence, DueAt: due, Now: r.Now(),
	})
	return allowed(written, err)
}

// fail gives the lease back, to be tried again later.
func (r *Refresher) fail(ctx context.Context, grant *postgres.Grant, f failure) error {
	failures, why, wait := grant.Failures+1, f.why, r.wait(grant, f)
	r.Log.Warn("token not refreshed, trying again",
		"integration", grant.IntegrationID, "provider", grant.Provider, "in", wait, "uncertain", f.uncertain, "error",
		why)
	return r.Store.InTx(ctx, func(tx *postgres.Tx) error {
		now := r.Now()
		retry := now.Add(wait)
		row, err := tx.IntegrationLock(ctx, grant.IntegrationID)
		if err != nil {
			return err
		}
		written, err := tx.GrantFailed(ctx, dbsqlc.GrantFailedParams{
			IntegrationID: row.ID, Fence: grant.Fence, Uncertain: f.uncertain, Lost: f.lost, Refused: f.refused,
			Reason: foreign.Of(why), DueAt: &retry, Now: now,
		})
		if err := allowed(written, err); err != nil {
			return err
		}
		if failures >= r.Settings.TroubleAfter {
			signal := health.Signal{Source: health.SourceToken, Severity: health.Degraded, Reason: foreign.Of(why)}
			if f.expired {
				signal.Severity = health.Failing
			}
			if err := health.Raise(ctx, tx, row, signal, now); err != nil {
				return err
			}
		}
		return announce.Publish(ctx, tx, now, events.TokenRefreshFailed, row, &eventsv1.TokenRefreshFailed{
			Integration: announce.Ref(row), Reason: foreign.Of(why).String(), Failures: failures,
			RetryAt: timestamppb.New(retry), Uncertain: f.uncertain || grant.State == "uncertain",
		})
	})
}

// end marks a grant that the upstream has ended. The stored tokens stay, for whoever looks into it.
func (r *Refresher) end(ctx context.Context, grant *postgres.Grant, a *account, reason foreign.Text) error {
	r.Log.Warn("the user must authorize again", "integration", a.row.Name, "provider", a.row.Provider, "reason", reason)
	return r.Store.InTx(ctx, func(tx *postgres.Tx) error {
		now := r.Now()
		row, err := tx.IntegrationLock(ctx, grant.IntegrationID)
		if err != nil {
			return fmt.Errorf("lock integration %s: %w", grant.IntegrationID, err)
		}
		written, err := tx.GrantEnd(ctx, dbsqlc.GrantEndParams{
			IntegrationID: row.ID, Fence: grant.Fence, State: "reauth-required", Reason: reason, TokenID: grant.TokenID,
			CredentialsVersion: grant.CredentialsVersion, Now: now,
		})
		if err := allowed(written, err); err != nil {
			return err
		}
		if err := r.hold(ctx, tx, row, reason); err != nil {
			return err
		}
		if err := health.Raise(ctx, tx, row, health.Signal{
			Source: health.SourceToken, Severity: health.Failing,
			Reason: reason,
		}, now); err != nil {
			return err
		}
		return announce.Publish(ctx, tx, now, events.ReauthRequired, row,
			&eventsv1.ReauthRequired{
				Integration: announce.Ref(row), Reason: reason.String(),
				Lost: grant.State == "uncertain",
			})
	})
}

// allowed returns [errFenced] if the fence did not allow a write to the grant.
func allowed(written int64, err error) error {
	if err != nil {
		return fmt.Errorf("write the grant: %w", err)
	}
	if written == 0 {
		return errFenced
	}
	return nil
}
