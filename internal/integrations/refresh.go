package integrations

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/watchdog"
)

// changes are the integrations that the feed has told of and that were not looked at since.
type changes struct {
	mu     sync.Mutex
	ids    map[uuid.UUID]struct{}
	kicked chan struct{}
}

func newChanges() *changes {
	return &changes{ids: map[uuid.UUID]struct{}{}, kicked: make(chan struct{}, 1)}
}

func (c *changes) add(id uuid.UUID) {
	c.mu.Lock()
	c.ids[id] = struct{}{}
	c.mu.Unlock()
	select {
	case c.kicked <- struct{}{}:
	default:
	}
}

func (c *changes) take() []uuid.UUID {
	c.mu.Lock()
	defer c.mu.Unlock()
	ids := slices.Collect(maps.Keys(c.ids))
	clear(c.ids)
	return ids
}

// Run keeps what is loaded current until ctx ends. While the database can't be reached, what is in memory goes on as it is.
func (l *Loader) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.changes.kicked:
		}
		for _, id := range l.changes.take() {
			err := watchdog.Step(ctx, "read changed integrations", func(ctx context.Context) error { return l.refresh(ctx, id) })
			if err == nil || ctx.Err() != nil {
				continue
			}
			l.log.Warn("changed integration not read; what is in memory goes on", "integration", id, "error", err)
			if postgres.Unavailable(err) {
				time.AfterFunc(retryEvery, func() { l.changes.add(id) })
			}
		}
	}
}

// refresh reads an integration anew if it is in memory; those that are behind, for [uuid.Nil].
func (l *Loader) refresh(ctx context.Context, id uuid.UUID) error {
	if id == uuid.Nil {
		return l.refreshBehind(ctx)
	}
	l.mu.Lock()
	_, ok := l.loaded[id]
	l.mu.Unlock()
	if !ok {
		return nil
	}
	_, err := l.read(ctx, id)
	if postgres.NotFound(err) {
		l.forget(id)
		return nil
	}
	return err
}

// refreshBehind compares the versions in memory with those in the database.
func (l *Loader) refreshBehind(ctx context.Context) error {
	l.mu.Lock()
	have := maps.Clone(l.loaded)
	l.mu.Unlock()
	if len(have) == 0 {
		return nil
	}
	rows, err := l.store.IntegrationVersions(ctx, slices.Collect(maps.Keys(have)))
	if err != nil {
		return fmt.Errorf("compare versions: %w", err)
	}
	for _, row := range rows {
		if state := have[row.ID].state.Load(); state != nil && state.version < row.Version {
			l.changes.add(row.ID)
		}
		delete(have, row.ID)
	}
	for id := range have {
		l.forget(id)
	}
	return nil
}

// forget drops what was deleted.
func (l *Loader) forget(id uuid.UUID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.loaded, id)
}
