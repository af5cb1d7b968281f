// Package integrations turns an integration's rows into the value that providers and handlers see: credentials opened,
// an HTTP client built, a logger attributed. Syncer and item-worker load through it.
//
// What is loaded stays current: [Feed] tells of every change in any process, and [Loader] reads the integration anew.
// The client that a provider got from HTTP() before the change sends its next request with the new credentials and
// under the new [outbound.Settings], without a query per request. Whoever needs to know of changes for reasons of its
// own follows the same feed; whoever wants one integration as it is now asks [Loader.Current].
package integrations

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/circuit"
	"github.com/tributaryhq/tributary/internal/outbound"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/redact"
	"github.com/tributaryhq/tributary/internal/registry"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

const (
	// cacheSize bounds the opened integrations that are kept; beyond it the cache starts afresh.
	cacheSize = 10_000
	// retryEvery is how long after a failure changed integrations are read again.
	retryEvery = time.Second
)

// Loader loads integrations, keeps them in memory, and keeps what it has loaded current.
type Loader struct {
	store    *postgres.Store
	registry *registry.Registry
	log      *slog.Logger
	outbound outbound.Config
	tokens   *tokenSource
	clock    func() time.Time
	changes  *changes
	most     int

	mu     sync.Mutex
	loaded map[uuid.UUID]*loaded
}

// loaded is one integration for as long as anybody uses it: one client, and behind it the newest state.
type loaded struct {
	id     uuid.UUID
	client *http.Client
	state  atomic.Pointer[state]
	// forgotten says that it fell out of the cache, where it would be kept current.
	forgotten atomic.Bool
}

// state is an integration at one version.
type state struct {
	version  int64
	value    *contracts.Integration
	settings outbound.Settings
}

// NewLoader returns a loader whose integrations send their requests through chains of the given configuration.
// Refreshers get new OAuth tokens for them; nil sends tokens as they are.
func NewLoader(store *postgres.Store, registry *registry.Registry, feed *Feed, log *slog.Logger, chains outbound.Config,
	refreshers Refreshers,
) *Loader {
	clock := chains.Now
	if clock == nil {
		clock = time.Now
	}
	l := &Loader{
		store: store, registry: registry, log: log, outbound: chains, tokens: newTokenSource(refreshers),
		clock: clock, changes: newChanges(), most: cacheSize, loaded: map[uuid.UUID]*loaded{},
	}
	feed.Follow(l.changes.add)
	return l
}

// Load returns the integration at a version or a newer one: while that is in memory, without a query.
func (l *Loader) Load(ctx context.Context, id uuid.UUID, version int64) (*contracts.Integration, error) {
	l.mu.Lock()
	have := l.loaded[id]
	l.mu.Unlock()
	if have != nil {
		if state := have.state.Load(); state != nil && state.version >= version {
			return state.value, nil
		}
	}
	state, err := l.read(ctx, id)
	if err != nil {
		return nil, err
	}
	return state.value, nil
}

// Current returns the integration as it is, give or take the moment that the feed takes: if it is in memory, without a
// query.
func (l *Loader) Current(ctx context.Context, id uuid.UUID) (*contracts.Integration, error) {
	return l.Load(ctx, id, 0)
}

// read reads an integration and keeps it, unless a newer state is there by then.
func (l *Loader) read(ctx context.Context, id uuid.UUID) (*state, error) {
	row, err := l.store.IntegrationGet(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("read integration %s: %w", id, err)
	}
	credentials, credentialsVersion,
		err := l.store.Credentials(ctx, id, postgres.Access{Who: "runtime", Why: "send requests", At: l.clock()})
	if err != nil {
		return nil, err
	}
	provider, err := l.registry.Provider(row.Provider)
	if err != nil {
		return nil, err
	}
	in := l.keep(id, provider)
	next := &state{version: row.Version, settings: settingsOf(row, credentialsVersion)}
	fields := contracts.IntegrationFields{
		ID: id.String(), Provider: row.Provider, Name: row.Name, Owner: row.Owner,
		Credentials: credentials, Metadata: row.Metadata, Client: in.client, Mappings: l.store.Mappings(id, l.clock),
	}
	// What the provider and the handlers log may quote what they were given.
	redactor := redact.New(provider, contracts.NewIntegration(fields))
	fields.Log = redactor.Logger(l.log).With("provider", row.Provider, "integration", row.Name)
	next.value = contracts.NewIntegration(fields)
	for {
		have := in.state.Load()
		if have != nil && have.version >= next.version {
			return have, nil
		}
		if in.state.CompareAndSwap(have, next) {
			return next, nil
		}
	}
}

// keep returns what is in memory of an integration, or puts the beginning of it there. A chain asks the provider what
// it is, which must hold up no other integration.
func (l *Loader) keep(id uuid.UUID, provider contracts.Provider) *loaded {
	l.mu.Lock()
	have := l.loaded[id]
	l.mu.Unlock()
	if have != nil {
		return have
	}
	in := &loaded{id: id}
	in.client = &http.Client{Transport: l.outbound.Chain(outbound.Target{
		Provider:    provider,
		Integration: func() *contracts.Integration { return l.now(in).value },
		Settings:    func() outbound.Settings { return l.now(in).settings },
		Tokens:      l.tokensOf(in, provider),
	})}
	l.mu.Lock()
	defer l.mu.Unlock()
	if have = l.loaded[id]; have != nil {
		return have
	}
	l.put(in)
	return in
}

// now is the state for the next request. What was forgotten is brought back by its use, in doubt, unless another took
// its place.
func (l *Loader) now(in *loaded) *state {
	if in.forgotten.Load() {
		in = l.recall(in)
	}
	return in.state.Load()
}

func (l *Loader) recall(in *loaded) *loaded {
	l.mu.Lock()
	defer l.mu.Unlock()
	if other := l.loaded[in.id]; other != nil && other.state.Load() != nil {
		return other
	}
	in.forgotten.Store(false)
	l.put(in)
	l.changes.add(in.id)
	return in
}

// put is called under the lock.
func (l *Loader) put(in *loaded) {
	if len(l.loaded) >= l.most {
		for _, old := range l.loaded {
			old.forgotten.Store(true)
		}
		clear(l.loaded)
	}
	l.loaded[in.id] = in
}

func settingsOf(row *postgres.Integration, credentialsVersion int64) outbound.Settings {
	settings := outbound.Settings{
		CredentialsVersion: credentialsVersion,
		Circuit:            circuit.Override(row.CircuitOverride),
	}
	if row.RateLimit != nil && row.RateWindow != nil {
		settings.Limit = &contracts.RateLimit{
			Limit: int(*row.RateLimit), Window: *row.RateWindow,
			IsSliding: row.RateSliding,
		}
	}
	if row.RateUntil != nil {
		settings.LimitUntil = *row.RateUntil
	}
	if row.CircuitUntil != nil {
		settings.CircuitUntil = *row.CircuitUntil
	}
	return settings
}
