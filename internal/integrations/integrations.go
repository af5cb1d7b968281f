// Package integrations turns an integration's rows into the value that providers and handlers see: credentials opened, an HTTP client built,
// a logger attributed. Syncer and item-worker load through it.
package integrations

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/outbound"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// cacheSize bounds the opened integrations that are kept; beyond it the cache starts afresh.
const cacheSize = 10_000

// Loader loads integrations, and keeps each until its version changes.
type Loader struct {
	store    *postgres.Store
	registry *contracts.Registry
	log      *slog.Logger
	outbound outbound.Config

	mu     sync.Mutex
	loaded map[uuid.UUID]loaded
}

type loaded struct {
	version int64
	value   *contracts.Integration
}

// NewLoader returns a loader whose integrations send their requests through chains of the given configuration.
func NewLoader(store *postgres.Store, registry *contracts.Registry, log *slog.Logger, chains outbound.Config) *Loader {
	return &Loader{store: store, registry: registry, log: log, outbound: chains, loaded: map[uuid.UUID]loaded{}}
}

// Load returns the integration at a version, as read with the run: while that is the one in memory, without a query.
func (l *Loader) Load(ctx context.Context, id uuid.UUID, version int64) (*contracts.Integration, error) {
	l.mu.Lock()
	have, ok := l.loaded[id]
	l.mu.Unlock()
	if ok && have.version == version {
		return have.value, nil
	}
	row, err := l.store.IntegrationGet(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("read integration %s: %w", id, err)
	}
	credentials, _, err := l.store.Credentials(ctx, id)
	if err != nil {
		return nil, err
	}
	provider, err := l.registry.Provider(row.Provider)
	if err != nil {
		return nil, err
	}
	var in *contracts.Integration
	client := &http.Client{Transport: l.outbound.Chain(outbound.Target{Provider: provider, Integration: func() *contracts.Integration { return in }})}
	in = contracts.NewIntegration(contracts.IntegrationFields{
		ID: id.String(), Provider: row.Provider, Name: row.Name, Owner: row.Owner,
		Credentials: credentials, Metadata: row.Metadata, Client: client,
		Log: l.log.With("provider", row.Provider, "integration", row.Name),
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.loaded) >= cacheSize {
		clear(l.loaded)
	}
	l.loaded[id] = loaded{version: row.Version, value: in}
	return in, nil
}
