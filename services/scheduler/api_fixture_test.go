package scheduler_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/secret"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
)

type shopCredentials struct {
	Token  string `json:"token" validate:"required,min=8"`
	Region string `json:"region"`
}

type shopMetadata struct {
	Shop  string `json:"shop" validate:"required"`
	Limit int    `json:"limit"`
}

// shop can be synced; nothing of it runs here, for these tests have no syncer.
type shop struct {
	contracts.TypedCredentials[shopCredentials]
	contracts.TypedMetadata[shopMetadata]
	contracts.MaxTime
}

func (shop) Name() string { return "Shop" }
func (shop) Sync(context.Context, *contracts.Integration, contracts.SyncSession) error {
	return errors.New("not in these tests")
}
func (shop) DefaultSyncInterval() time.Duration     { return 5 * time.Minute }
func (shop) DefaultRateLimit() *contracts.RateLimit { return nil }

// inbox can't be synced, and has a name that is no token of a subject.
type inbox struct {
	contracts.NoCredentials
	contracts.NoMetadata
}

func (inbox) Name() string { return "In box" }

// broken panics whenever its rules are asked for after the start.
type broken struct {
	contracts.NoCredentials
	contracts.NoMetadata
}

func (broken) Name() string { panic("nobody knows my name") }

type fixture struct {
	*api.Client
	nc    *nats.Conn
	pool  *pgxpool.Pool
	store *postgres.Store
	told  *nats.Subscription

	server *natstest.Server
	ring   *secret.Ring
}

// start runs schedulers with the given providers on a NATS and a database of the test's own.
func start(t *testing.T, processes ...map[string]contracts.Provider) *fixture {
	t.Helper()
	f := prepare(t)
	for _, providers := range processes {
		f.startScheduler(t, providers, func(*platform.Config) {})
	}
	f.awaitProviders(t, processes)
	return f
}

// prepare makes a NATS and a database of the test's own, and runs nothing on them.
func prepare(t *testing.T) *fixture {
	t.Helper()
	ring := testRing(t)
	server := natstest.New(t)
	f := &fixture{nc: server.Connect(), pool: pgtest.DB(t)}
	f.Client = api.New(f.nc, time.Minute)
	f.store = postgres.New(f.pool, ring)
	told, err := f.nc.SubscribeSync("tributary.events.>")
	if err != nil {
		t.Fatal(err)
	}
	f.told = told
	f.server, f.ring = server, ring
	return f
}

// startScheduler runs a scheduler until the test ends.
func (f *fixture) startScheduler(t *testing.T, providers map[string]contracts.Provider, adjust func(*platform.Config)) {
	t.Helper()
	config := platform.Defaults()
	config.NATS, config.Pool, config.Ring, config.Providers = f.server.Connect(), f.pool, f.ring, providers
	adjust(&config)
	built, err := platform.New(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	run(t, built, platform.SchedulerService)
}

// run runs services until the test ends.
func run(t *testing.T, built *platform.Platform, services ...string) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- built.Run(ctx, services...) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the services ended with: %v", err)
		}
	})
}

func testRing(t *testing.T) *secret.Ring {
	t.Helper()
	ring, err := secret.ParseRing("test:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// awaitProviders waits until every process answers.
func (f *fixture) awaitProviders(t *testing.T, processes []map[string]contracts.Provider) {
	t.Helper()
	want := 0
	for _, providers := range processes {
		want += len(providers)
	}
	for deadline := time.Now().Add(time.Minute); want > 0; <-time.After(10 * time.Millisecond) {
		providers, err := f.Providers(t.Context())
		if err == nil && len(providers) == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the schedulers did not start: %v, %v", providers, err)
		}
	}
}

// event waits for an event of a name and returns its body.
func (f *fixture) event(t *testing.T, name events.Name) map[string]any {
	t.Helper()
	for {
		msg, err := f.told.NextMsg(time.Minute)
		if err != nil {
			t.Fatalf("no event %s: %v", name, err)
		}
		got, _, _, err := events.ParseEventSubject(msg.Subject)
		if err != nil {
			t.Fatal(err)
		}
		if got == name {
			var body map[string]any
			if err := json.Unmarshal(msg.Data, &body); err != nil {
				t.Fatal(err)
			}
			return body
		}
	}
}

func shops() map[string]contracts.Provider {
	return map[string]contracts.Provider{"shop": shop{}, "inbox": inbox{}}
}

func newShop(name string) api.CreateIntegration {
	return api.CreateIntegration{
		Provider: "shop", Name: name, Metadata: json.RawMessage(`{"shop":"north"}`), Credentials: json.RawMessage(`{"token":"s3cret-token"}`),
	}
}

func (f *fixture) mustCreate(t *testing.T, create api.CreateIntegration) api.Integration {
	t.Helper()
	created, err := f.CreateIntegration(t.Context(), create)
	if err != nil {
		t.Fatal(err)
	}
	return created
}

func wantCode(t *testing.T, err error, code api.Code, part string) {
	t.Helper()
	if api.CodeOf(err) != code || !strings.Contains(err.Error(), part) {
		t.Errorf("got the error %q (%s), want %s with %q in it", err, api.CodeOf(err), code, part)
	}
}
