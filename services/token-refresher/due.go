package tokenrefresher

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/tributaryhq/tributary/internal/loop"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
)

// refreshDue takes due grants until there is no provider with room for any.
func (r *Refresher) refreshDue(ctx context.Context) error {
	for ctx.Err() == nil {
		abandoned := r.abandoned()
		p := dbsqlc.GrantDueParams{Providers: r.keys, Now: r.Now(), Abandoned: abandoned}
		providers, err := r.Store.GrantDue(ctx, p)
		if err != nil {
			return fmt.Errorf("look for due grants: %w", r.heard(err))
		}
		taken := 0
		for _, provider := range providers {
			var suspects int
			if abandoned {
				suspects, err = r.takeSuspect(ctx, provider)
			}
			others, otherErr := r.takeDue(ctx, provider, math.MaxInt32, false, func() {})
			if err := errors.Join(err, otherErr); err != nil {
				return fmt.Errorf("take due grants: %w", r.heard(err))
			}
			taken += suspects + others
		}
		if taken == 0 {
			return nil
		}
	}
	return nil
}

// takeSuspect takes a due grant whose holder died, one of each provider at a time: what has ended one process may end
// this one, and all that is worked on then counts as an answer that never came.
func (r *Refresher) takeSuspect(ctx context.Context, provider string) (taken int, err error) {
	if !r.beginSuspect(provider) {
		r.lacking.Store(true)
		return 0, nil
	}
	end := func() { r.endSuspect(provider) }
	if taken, err = r.takeDue(ctx, provider, 1, true, end); taken == 0 {
		end()
	}
	return taken, err
}

// beginSuspect returns false while a grant of the provider is worked on whose holder died.
func (r *Refresher) beginSuspect(provider string) bool {
	_, busy := r.suspects.LoadOrStore(provider, true)
	return !busy
}

func (r *Refresher) endSuspect(provider string) { r.suspects.Delete(provider) }

// takeDue takes due grants of a provider, as many as its share of the slots has room for, so that no intent is written
// long before its call. done is called after each.
func (r *Refresher) takeDue(ctx context.Context, provider string, most int, abandoned bool, done func()) (int, error) {
	room := 0
	for room < most && r.slots.Take(provider, 1) {
		room++
	}
	if room == 0 {
		r.lacking.Store(true)
		return 0, nil
	}
	now := r.Now()
	grants, err := r.Store.GrantTakeDue(ctx, dbsqlc.GrantTakeDueParams{
		Holder: r.holder, Until: now.Add(r.Settings.Lease), Now: now, Abandoned: abandoned, Provider: provider,
		Most: int32(room),
	})
	r.slots.Give(provider, int64(room-len(grants)))
	for _, grant := range grants {
		r.working.Go(func() {
			defer r.leave(provider)
			defer done()
			r.refresh(r.work, grant)
		})
	}
	return len(grants), err
}

// leave gives a slot back, and has due grants looked for that had no room.
func (r *Refresher) leave(provider string) {
	r.slots.Give(provider, 1)
	if r.lacking.Swap(false) {
		loop.Kick(r.kicked)
	}
}
