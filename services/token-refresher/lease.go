package tokenrefresher

import (
	"context"
	"fmt"
	"sync"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/loop"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
)

// leases are the grants that this process works on, with their fences. They are renewed while it lives, so that one lease lasts no longer than it takes to
// notice that its holder has died.
type leases struct {
	mu   sync.Mutex
	held map[uuid.UUID]int64
}

// add has a lease renewed until done is called. A grant whose lease was taken twice is held under the later fence.
func (l *leases) add(grant *postgres.Grant) (done func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held == nil {
		l.held = map[uuid.UUID]int64{}
	}
	l.held[grant.IntegrationID] = grant.Fence
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.held[grant.IntegrationID] == grant.Fence {
			delete(l.held, grant.IntegrationID)
		}
	}
}

func (l *leases) list() (ids []uuid.UUID, fences []int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, fence := range l.held {
		ids, fences = append(ids, id), append(fences, fence)
	}
	return ids, fences
}

// keepLeases renews leases until ctx ends.
func (r *Refresher) keepLeases(ctx context.Context) error {
	return loop.Every(ctx, r.Log, "renew leases of grants", r.Settings.Renew, nil, func(ctx context.Context) error {
		ids, fences := r.leases.list()
		if len(ids) == 0 {
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, r.Settings.Lease)
		defer cancel()
		_, err := r.Store.GrantRenew(ctx, dbsqlc.GrantRenewParams{Ids: ids, Fences: fences, Until: r.Now().Add(r.Settings.Lease)})
		if err != nil {
			return fmt.Errorf("renew the leases of %d grants: %w", len(ids), r.heard(err))
		}
		return nil
	})
}

// heard notes how a statement of the refresher's went, and returns its error.
func (r *Refresher) heard(err error) error {
	if postgres.Unavailable(err) {
		now := r.Now()
		r.away.Store(&now)
	}
	return err
}

// abandoned reports whether a lease that has ended with an intent was left by a holder that died. Just after Postgres was away it may only have been unable to
// renew, with the new token in its hands: such holders come first.
func (r *Refresher) abandoned() bool {
	away := r.away.Load()
	return away == nil || r.Now().Sub(*away) > r.Settings.Renew
}
