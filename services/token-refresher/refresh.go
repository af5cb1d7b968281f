package tokenrefresher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributaryhq/tributary/internal/health"
	"github.com/tributaryhq/tributary/internal/integrations"
	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
	"github.com/tributaryhq/tributary/pkg/oauth2"
)

// errFenced means that the grant was taken over or replaced meanwhile: what came of the refresh must not be written any more.
var errFenced = errors.New("the grant has another holder by now")

// storeEvery is how often it is tried to store tokens while Postgres can't be reached.
const storeEvery = 250 * time.Millisecond

// refreshDue takes as many due grants as there are free slots, so that no intent is written long before its call.
func (r *Refresher) refreshDue(ctx context.Context) error {
	for ctx.Err() == nil {
		free := r.takeSlots(ctx)
		if free == 0 {
			return nil
		}
		now := r.Now()
		grants, err := r.Store.GrantTakeDue(ctx, dbsqlc.GrantTakeDueParams{
			Holder: r.holder, Until: now.Add(r.Settings.Lease), Now: now, Providers: r.keys, Most: int32(free),
		})
		for range free - len(grants) {
			<-r.slots
		}
		if err != nil {
			return fmt.Errorf("take due grants: %w", err)
		}
		for _, grant := range grants {
			r.working.Go(func() {
				defer func() { <-r.slots }()
				r.refresh(r.work, grant)
			})
		}
		if len(grants) < free {
			return nil
		}
	}
	return nil
}

// takeSlots waits for a slot, and takes those that are free by then.
func (r *Refresher) takeSlots(ctx context.Context) int {
	select {
	case r.slots <- struct{}{}:
	case <-ctx.Done():
		return 0
	}
	for taken := 1; ; taken++ {
		select {
		case r.slots <- struct{}{}:
		default:
			return taken
		}
	}
}

// refresh gets a new token under a lease that was taken, with the intent written. Whatever comes of it is written down; an error that can't be is logged, and then the lease
// ends by itself and the next holder finds the intent.
func (r *Refresher) refresh(ctx context.Context, grant *postgres.Grant) {
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

func (r *Refresher) attempt(ctx context.Context, grant *postgres.Grant) (outcome string, err error) {
	a, err := r.open(ctx, grant.IntegrationID, postgres.Access{Who: serviceName, Why: "refresh the token", At: r.Now()})
	switch {
	case postgres.NotFound(err):
		return "", err
	case err != nil:
		return "failed", r.fail(ctx, grant, failure{why: err})
	case a.tokenID != grant.TokenID:
		// Somebody has written other ones, which the sweep adopts.
		return "superseded", r.release(ctx, grant, nil)
	case !a.refreshable() && a.token.ExpiresAt != nil && !r.Now().Before(*a.token.ExpiresAt):
		return "ended", r.end(ctx, grant, a, "the token has expired, and there is no refresh token")
	case !a.refreshable():
		return "superseded", r.release(ctx, grant, a.token.ExpiresAt)
	}
	r.Crash("token-refresher: intent written")
	started := time.Now()
	token, err := r.call(ctx, a)
	r.Crash("token-refresher: answered")
	if err == nil {
		err = r.insist(ctx, func() error { return r.store(ctx, grant, a, token) })
		r.Crash("token-refresher: stored")
		return "refreshed", err
	}
	if contracts.IsPermanent(err) {
		reason := err.Error()
		if grant.State == "uncertain" {
			reason = "the grant was lost when a refresh broke off: " + reason
		}
		return "ended", r.insist(ctx, func() error { return r.end(ctx, grant, a, reason) })
	}
	f := failure{why: err, uncertain: mayBeSpent(err), slow: time.Since(started) >= r.Settings.Call}
	if f.uncertain {
		outcome = "uncertain"
	} else {
		outcome = "failed"
	}
	return outcome, r.insist(ctx, func() error { return r.fail(ctx, grant, f) })
}

// call asks the upstream, once. A provider that panics has failed.
func (r *Refresher) call(ctx context.Context, a *account) (token contracts.Token, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.Settings.Call)
	defer cancel()
	token, err = refreshToken(ctx, a)
	panics.Report(r.Log, err, "provider", a.row.Provider)
	if err == nil && token.AccessToken == "" {
		err = errors.New("the provider returned no access token")
	}
	return token, a.redacted(err)
}

func refreshToken(ctx context.Context, a *account) (token contracts.Token, err error) {
	defer panics.Catch(&err, "RefreshToken")
	return a.flow.RefreshToken(ctx, a.in)
}

// mayBeSpent reports whether a refresh that failed may have been carried out all the same. It is not when no connection came about, when the upstream refused, or when
// it asked for patience.
func mayBeSpent(err error) bool {
	if _, deferred := contracts.AsDeferral(err); deferred {
		return false
	}
	if refused, ok := errors.AsType[*oauth2.Error](err); ok {
		return refused.Executed()
	}
	if _, unknown := errors.AsType[*net.DNSError](err); unknown {
		return false
	}
	connection, ok := errors.AsType[*net.OpError](err)
	return !ok || connection.Op != "dial"
}

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

// store writes new tokens over the credentials, if the fence still allows it.
func (r *Refresher) store(ctx context.Context, grant *postgres.Grant, a *account, token contracts.Token) error {
	for {
		err := r.storeOnce(ctx, grant, a, token)
		if !errors.Is(err, postgres.ErrCredentialsChanged) {
			return err
		}
		// Somebody has changed another field. If it was the tokens, theirs are newer than ours.
		again, err := r.open(ctx, grant.IntegrationID, postgres.Access{Who: serviceName, Why: "store the refreshed token", At: r.Now()})
		if err != nil {
			return err
		}
		if again.tokenID != grant.TokenID {
			return errFenced
		}
		a = again
	}
}

func (r *Refresher) storeOnce(ctx context.Context, grant *postgres.Grant, a *account, token contracts.Token) error {
	credentials, err := merged(a.credentials, token)
	if err != nil {
		return err
	}
	id, whole, err := tokenIDOf(credentials)
	if err != nil {
		return err
	}
	return r.Store.InTx(ctx, func(tx *postgres.Tx) error {
		now := r.Now()
		row, err := tx.IntegrationLock(ctx, grant.IntegrationID)
		if err != nil {
			return fmt.Errorf("lock integration %s: %w", grant.IntegrationID, err)
		}
		version, err := r.Store.PutCredentials(ctx, tx, row.ID, credentials, a.version, postgres.Access{Who: serviceName, Why: "store the refreshed token", At: now})
		if err != nil {
			return err
		}
		written, err := tx.GrantRefreshed(ctx, dbsqlc.GrantRefreshedParams{
			IntegrationID: row.ID, Fence: grant.Fence, TokenID: id, CredentialsVersion: version, ExpiresAt: whole.ExpiresAt, Now: now,
			Refreshable: whole.RefreshToken != "" || a.unattended(), DueAt: r.dueAt(a.flow, whole.ExpiresAt, whole.RefreshToken != "" || a.unattended()),
		})
		if err != nil {
			return fmt.Errorf("note the refreshed token: %w", err)
		}
		if written == 0 {
			return errFenced
		}
		if _, err := tx.IntegrationTouch(ctx, now, row.ID); err != nil {
			return fmt.Errorf("raise the version of %s: %w", row.ID, err)
		}
		if grant.Failures > 0 {
			if err := health.Clear(ctx, tx, row, health.SourceToken, "the token was refreshed", now); err != nil {
				return err
			}
		}
		return publish(ctx, tx, now, events.TokenRefreshed, row, &eventsv1.TokenRefreshed{Integration: ref(row), ExpiresAt: stampOf(whole.ExpiresAt)})
	})
}

func tokenIDOf(credentials json.RawMessage) (string, contracts.Token, error) {
	return integrations.TokenID(contracts.NewIntegration(contracts.IntegrationFields{Credentials: credentials}))
}

// failure is a refresh that brought no token, and did not end the grant either.
type failure struct {
	why error
	// uncertain says that the refresh token may be spent, slow that the upstream had not answered in time.
	uncertain, slow bool
}

// wait is how long to leave a grant after a failure: longer from one to the next, or as long as the upstream says.
func (r *Refresher) wait(grant *postgres.Grant, f failure) time.Duration {
	wait := min(r.Settings.Backoff<<min(grant.Failures, 10), r.Settings.BackoffMost)
	wait += rand.N(wait/4 + 1)
	switch deferral, deferred := contracts.AsDeferral(f.why); {
	case deferred:
		return max(wait, deferral.Delay)
	case f.slow:
		// It may be at work on the request still, and must be through with it before the token comes again.
		return max(wait, r.Settings.Call)
	case f.uncertain && grant.State != "uncertain":
		// What it has come to is best found out soon.
		return min(wait, time.Second)
	}
	return wait
}

// fail gives the lease back, to be tried again later.
func (r *Refresher) fail(ctx context.Context, grant *postgres.Grant, f failure) error {
	failures, why, uncertain, wait := grant.Failures+1, f.why, f.uncertain, r.wait(grant, f)
	r.Log.Warn("token not refreshed, trying again", "integration", grant.IntegrationID, "provider", grant.Provider, "in", wait, "uncertain", uncertain, "error", why)
	return r.Store.InTx(ctx, func(tx *postgres.Tx) error {
		now := r.Now()
		retry := now.Add(wait)
		row, err := tx.IntegrationLock(ctx, grant.IntegrationID)
		if err != nil {
			return err
		}
		written, err := tx.GrantFailed(ctx, dbsqlc.GrantFailedParams{
			IntegrationID: row.ID, Fence: grant.Fence, Uncertain: uncertain, Reason: why.Error(), DueAt: &retry, Now: now,
		})
		if err != nil {
			return fmt.Errorf("note a failed refresh: %w", err)
		}
		if written == 0 {
			return errFenced
		}
		if failures >= r.Settings.TroubleAfter {
			err := health.Raise(ctx, tx, row, health.Signal{Source: health.SourceToken, Severity: health.Degraded, Reason: why.Error()}, now)
			if err != nil {
				return err
			}
		}
		return publish(ctx, tx, now, events.TokenRefreshFailed, row, &eventsv1.TokenRefreshFailed{
			Integration: ref(row), Reason: why.Error(), Failures: failures, RetryAt: timestamppb.New(retry), Uncertain: uncertain || grant.State == "uncertain",
		})
	})
}

func (r *Refresher) release(ctx context.Context, grant *postgres.Grant, due *time.Time) error {
	written, err := r.Store.GrantReleased(ctx, dbsqlc.GrantReleasedParams{IntegrationID: grant.IntegrationID, Fence: grant.Fence, DueAt: due, Now: r.Now()})
	if err == nil && written == 0 {
		return errFenced
	}
	return err
}
