package integrations_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/integrations"
	"github.com/tributaryhq/tributary/internal/outbound"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/registry"
	"github.com/tributaryhq/tributary/internal/requestlog"
	"github.com/tributaryhq/tributary/internal/secret"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// shop is a provider whose requests carry a key from the credentials.
type shop struct{}

func (shop) Name() string                     { return "Shop" }
func (shop) CredentialRules() contracts.Rules { return nil }
func (shop) MetadataRules() contracts.Rules   { return nil }
func (shop) CredentialData() any              { return nil }
func (shop) MetadataData() any                { return nil }

func (shop) Authenticate(in *contracts.Integration, req *http.Request) error {
	credentials, err := in.Credentials()
	if err != nil {
		return err
	}
	key, _ := credentials["key"].(string)
	req.Header.Set("X-Key", key)
	return nil
}

// echo is an upstream that answers with the key it was sent.
type echo struct{}

func (echo) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"X-Key": req.Header["X-Key"], "Authorization": req.Header["Authorization"]}, Body: http.NoBody, Request: req}, nil
}

type fixture struct {
	store  *postgres.Store
	pool   *pgxpool.Pool
	feed   *integrations.Feed
	loader *integrations.Loader
	log    *strings.Builder
	id     uuid.UUID
	// refresher answers those who ask for tokens; clock is how far ahead the loader's clock is.
	refresher *refresher
	clock     atomic.Int64
}

func newFixture(t *testing.T, provider string) *fixture {
	t.Helper()
	ring, err := secret.ParseRing("test:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
	if err != nil {
		t.Fatal(err)
	}
	registry, err := registry.New(map[string]contracts.Provider{"shop": shop{}, "mail": mail{}})
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{pool: pgtest.DB(t), log: &strings.Builder{}, id: postgres.NewID(), refresher: &refresher{}}
	f.store = postgres.New(f.pool, ring)
	f.feed = integrations.NewFeed(f.store)
	f.loader = integrations.NewLoader(f.store, registry, f.feed, slog.New(slog.NewTextHandler(f.log, nil)), outbound.Config{
		Base: echo{}, Now: func() time.Time { return time.Now().Add(time.Duration(f.clock.Load())) },
	}, f.refresher)
	_, err = f.store.IntegrationInsert(t.Context(), dbsqlc.IntegrationInsertParams{
		ID: f.id, Provider: provider, Name: "main", Owner: "team", Metadata: json.RawMessage(`{"shop":"a"}`), Now: now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fixture) version(t *testing.T) int64 {
	t.Helper()
	row, err := f.store.IntegrationGet(t.Context(), f.id)
	if err != nil {
		t.Fatal(err)
	}
	return row.Version
}

// putKey stores credentials, and raises the integration's version as every writer does.
func (f *fixture) putKey(t *testing.T, key string, version int64) {
	t.Helper()
	err := f.store.InTx(t.Context(), func(tx *postgres.Tx) error {
		if _, err := f.store.PutCredentials(t.Context(), tx, f.id, json.RawMessage(`{"key":"`+key+`"}`), version, postgres.Access{At: now}); err != nil {
			return err
		}
		_, err := tx.IntegrationUpdate(t.Context(), dbsqlc.IntegrationUpdateParams{ID: f.id, Now: now})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) load(t *testing.T, version int64) *contracts.Integration {
	t.Helper()
	in, err := f.loader.Load(t.Context(), f.id, version)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func sentKey(t *testing.T, in *contracts.Integration) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://shop.example.com/", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := in.HTTP().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.Header.Get("X-Key")
}

func TestLoad(t *testing.T) {
	f := newFixture(t, "shop")
	f.putKey(t, "k1", 0)
	in := f.load(t, f.version(t))
	if in.ID() != f.id.String() || in.Provider() != "shop" || in.Name() != "main" || in.Owner() != "team" {
		t.Errorf("loaded %s, %q, of %q", in, in.ID(), in.Owner())
	}
	metadata, err := in.Metadata()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{"shop": "a"}, metadata); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
	if got := sentKey(t, in); got != "k1" {
		t.Errorf("requests carry the key %q, want k1", got)
	}
	in.Log().Info("hello")
	for _, want := range []string{"provider=shop", "integration=main"} {
		if !strings.Contains(f.log.String(), want) {
			t.Errorf("log %q lacks %s", f.log, want)
		}
	}
}

func TestLoadKeepsAVersion(t *testing.T) {
	f := newFixture(t, "shop")
	f.putKey(t, "k1", 0)
	version := f.version(t)
	first := f.load(t, version)
	if again := f.load(t, version); again != first {
		t.Error("an unchanged integration is loaded again")
	}
	// What is in memory needs no database.
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if again, err := f.loader.Load(ended, f.id, version); err != nil || again != first {
		t.Errorf("a second load gives %v, %v", again, err)
	}
	f.putKey(t, "k2", 1)
	if got := sentKey(t, f.load(t, f.version(t))); got != "k2" {
		t.Errorf("after a change requests carry the key %q, want k2", got)
	}
	if got := sentKey(t, first); got != "k2" {
		t.Errorf("who holds the old value sends %q, want k2", got)
	}
	// A run that was read before the change gets the present state, too.
	if got := sentKey(t, f.load(t, version)); got != "k2" {
		t.Errorf("for an older version requests carry the key %q, want k2", got)
	}
}

func TestLoadWithoutCredentials(t *testing.T) {
	f := newFixture(t, "shop")
	credentials, err := f.load(t, f.version(t)).Credentials()
	if err != nil || len(credentials) != 0 {
		t.Errorf("credentials are %v, %v", credentials, err)
	}
}

func TestLoadFails(t *testing.T) {
	f := newFixture(t, "other")
	if _, err := f.loader.Load(t.Context(), f.id, 1); err == nil || !strings.Contains(err.Error(), "other") {
		t.Errorf("an unknown provider gives %v", err)
	}
	if _, err := f.loader.Load(t.Context(), postgres.NewID(), 1); !postgres.NotFound(err) {
		t.Errorf("an unknown integration gives %v", err)
	}
}

func TestLoadFromManyGoroutines(t *testing.T) {
	f := newFixture(t, "shop")
	version := f.version(t)
	var group errgroup.Group
	var loads atomic.Int64
	for range 8 {
		group.Go(func() error {
			for range 20 {
				if _, err := f.loader.Load(t.Context(), f.id, version); err != nil {
					return err
				}
				loads.Add(1)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if loads.Load() != 160 {
		t.Errorf("%d loads, want 160", loads.Load())
	}
}

// nested is a provider that, when it is asked what it is, waits until another integration is loaded.
type nested struct {
	shop
	load func()
}

func (n nested) UnloggedResponseEndpoints() []string { n.load(); return nil }

// A provider's code is not called under the loader's lock, which all integrations share.
func TestLoadWhileAnotherProviderHangs(t *testing.T) {
	f := newFixture(t, "shop")
	var loaded atomic.Bool
	slow := nested{load: func() {
		_, err := f.loader.Load(t.Context(), f.id, 0)
		loaded.Store(err == nil)
	}}
	registry, err := registry.New(map[string]contracts.Provider{"shop": shop{}, "nested": slow})
	if err != nil {
		t.Fatal(err)
	}
	f.loader = integrations.NewLoader(f.store, registry, f.feed, slog.New(slog.DiscardHandler), outbound.Config{
		Base: echo{}, Requests: &requestlog.Log{},
	}, f.refresher)
	other := postgres.NewID()
	_, err = f.store.IntegrationInsert(t.Context(), dbsqlc.IntegrationInsertParams{ID: other, Provider: "nested", Name: "other", Metadata: json.RawMessage(`{}`), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.loader.Load(t.Context(), other, 0); err != nil || !loaded.Load() {
		t.Errorf("%v; the other integration was loaded: %t", err, loaded.Load())
	}
}
