package tokenrefresher

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
)

const (
	// lookFirst and lookMost are how often a grant is looked at that somebody else is refreshing.
	lookFirst = 20 * time.Millisecond
	lookMost  = 250 * time.Millisecond
	// demandWithin is how long somebody who asks for a token waits for it; then the answer is to ask again.
	demandWithin = 15 * time.Second
	// askAgain is what an answer says that came to nothing for another's sake.
	askAgain = time.Second
	// lastSecond is when a token is good for nobody any more: see the tokens of internal/integrations.
	lastSecond = time.Second
	// mostTries bounds the refreshes that one demand can cost, should none of them settle it. Then the answer is to ask
	// again.
	mostTries = 3
)

// demand is a request for another token.
type demand struct {
	id uuid.UUID
	// have names the token that is not to be had again.
	have string
	// refused says that the upstream refused it.
	refused bool
}

// answerDemand answers an asker. All who ask for the same at the same time get the same answer.
func (r *Refresher) answerDemand(ctx context.Context, q api.RefreshToken) (api.TokenStatus, error) {
	id, err := uuid.Parse(q.Integration)
	if err != nil {
		return api.TokenStatus{}, api.Invalidf("%q is not the id of an integration", q.Integration)
	}
	d := demand{id: id, have: q.Have, refused: q.Refused}
	answers := r.asking.DoChan(fmt.Sprint(d), func() (any, error) {
		// Whoever asked first may leave; the others still wait.
		r.working.Add(1)
		defer r.working.Done()
		ctx, cancel := context.WithTimeout(r.work, demandWithin)
		defer cancel()
		return r.meet(ctx, d)
	})
	select {
	case <-ctx.Done():
		return api.TokenStatus{}, ctx.Err()
	case answer := <-answers:
		status, _ := answer.Val.(api.TokenStatus)
		return status, answer.Err
	}
}

// meet has the token refreshed unless there is another one, or none to be had.
func (r *Refresher) meet(ctx context.Context, d demand) (api.TokenStatus, error) {
	pause := lookFirst
	for tries := 0; ; {
		grant, err := r.look(ctx, d.id)
		if err != nil {
			return api.TokenStatus{}, err
		}
		if answer, settled := r.settled(grant, d); settled {
			return r.status(ctx, grant, answer)
		}
		taken, err := r.take(ctx, grant)
		if err != nil {
			return api.TokenStatus{}, err
		}
		if taken {
			if tries++; tries == mostTries {
				return r.status(context.WithoutCancel(ctx), grant, answer{retry: askAgain})
			}
			continue
		}
		// Somebody else is at it.
		select {
		case <-ctx.Done():
			return r.status(context.WithoutCancel(ctx), grant, answer{retry: askAgain})
		case <-time.After(pause):
			pause = min(2*pause, lookMost)
		}
	}
}

// look reads a grant, and takes over what was changed by hand first.
func (r *Refresher) look(ctx context.Context, id uuid.UUID) (*dbsqlc.GrantGetRow, error) {
	for adopted := false; ; adopted = true {
		grant, err := r.Store.GrantGet(ctx, id)
		if postgres.NotFound(err) {
			return nil, api.NotFoundf("there is no integration %s", id)
		}
		if err != nil {
			return nil, fmt.Errorf("read the grant of %s: %w", id, err)
		}
		if adopted || grant.CredentialsVersion == grant.CredentialsNow {
			return grant, nil
		}
		if err := r.adopt(ctx, id); err != nil {
			return nil, err
		}
	}
}

// answer is what a demand comes to.
type answer struct {
	usable bool
	// retry is when to ask again, when the token is not usable.
	retry time.Duration
}

// settled reports whether a demand can be answered without a refresh.
func (r *Refresher) settled(g *dbsqlc.GrantGetRow, d demand) (answer, bool) {
	now := r.Now()
	if g.State != "connected" && g.State != "uncertain" {
		return answer{}, true
	}
	alive := g.TokenID != "" && (g.ExpiresAt == nil || now.Add(lastSecond).Before(*g.ExpiresAt))
	leased := g.LeasedUntil != nil && now.Before(*g.LeasedUntil)
	switch {
	case alive && g.TokenID != d.have, alive && !d.refused && !r.endsSoon(g):
		return answer{usable: true}, true
	case leased:
		return answer{}, false
	case alive && !g.Refreshable, alive && d.refused && r.isYoung(g):
		// There is no better one: the same is the answer.
		return answer{usable: true}, true
	case (g.Failures > 0 || g.Brief > 0) && g.DueAt != nil && now.Before(*g.DueAt):
		return answer{usable: alive && !d.refused, retry: g.DueAt.Sub(now)}, true
	}
	return answer{}, false
}

// endsSoon reports whether a token is due to be refreshed by itself.
func (r *Refresher) endsSoon(g *dbsqlc.GrantGetRow) bool {
	return g.DueAt != nil && !r.Now().Before(*g.DueAt)
}

// isYoung reports whether a token is so new that a refusal is hardly for its age.
func (r *Refresher) isYoung(g *dbsqlc.GrantGetRow) bool {
	if g.ObtainedAt == nil {
		return false
	}
	young := r.Settings.Young
	if g.ExpiresAt != nil {
		young = min(young, g.ExpiresAt.Sub(*g.ObtainedAt)/4)
	}
	return r.Now().Sub(*g.ObtainedAt) < young
}

// take refreshes a grant, if its lease is to be had.
func (r *Refresher) take(ctx context.Context, g *dbsqlc.GrantGetRow) (taken bool, err error) {
	if !r.slots.Wait(ctx, g.Provider, 1) {
		return false, nil
	}
	defer r.leave(g.Provider)
	now := r.Now()
	p := dbsqlc.GrantTakeParams{
		IntegrationID: g.IntegrationID, TokenID: g.TokenID, Holder: r.holder,
		Until: now.Add(r.Settings.Lease), Now: now,
	}
	grant, err := r.Store.GrantTake(ctx, p)
	if postgres.NotFound(err) && r.abandoned() && r.beginSuspect(g.Provider) {
		defer r.endSuspect(g.Provider)
		p.Abandoned = true
		grant, err = r.Store.GrantTake(ctx, p)
	}
	if postgres.NotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("take the grant of %s: %w", g.IntegrationID, r.heard(err))
	}
	done := make(chan struct{})
	r.working.Go(func() {
		defer close(done)
		r.refresh(r.work, grant)
	})
	<-done
	return true, nil
}

// status is what is told of a grant.
func (r *Refresher) status(ctx context.Context, g *dbsqlc.GrantGetRow, a answer) (api.TokenStatus, error) {
	row, err := r.Store.IntegrationGet(ctx, g.IntegrationID)
	if err != nil {
		return api.TokenStatus{}, fmt.Errorf("read integration %s: %w", g.IntegrationID, err)
	}
	return api.TokenStatus{
		Integration: row.Name, IntegrationID: row.ID.String(), Provider: row.Provider, State: g.State, Usable: a.usable,
		Version:   row.Version,
		ExpiresAt: g.ExpiresAt, RefreshAt: g.DueAt, Failures: g.Failures, Reason: g.Reason,
		RetryAfterMS: a.retry.Milliseconds(),
	}, nil
}
