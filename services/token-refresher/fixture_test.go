package tokenrefresher_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/secret"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
	"github.com/tributaryhq/tributary/pkg/oauth2"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// patience is how long a test waits for what must happen.
const patience = time.Minute

// mail is a provider whose users authorize it.
type mail struct {
	contracts.NoMetadata
	contracts.TypedCredentials[mailCredentials]
	oauth2.AuthorizationCode
}

type mailCredentials struct {
	ClientID     string `json:"client_id" validate:"required"`
	ClientSecret string `json:"client_secret"`
}

func (mail) Name() string { return "Mail" }

// club is mail that can tell who has authorized.
type club struct{ mail }

func (c club) ResolveIdentity(_ context.Context, in *contracts.Integration) (contracts.Identity, error) {
	credentials, err := contracts.CredentialsOf[struct {
		AccessToken string `json:"access_token"`
	}](in)
	if err != nil {
		return contracts.Identity{}, err
	}
	request, err := http.NewRequest(http.MethodGet, c.Endpoints.Issuer+"/whoami", http.NoBody)
	if err != nil {
		return contracts.Identity{}, err
	}
	request.Header.Set("Authorization", "Bearer "+credentials.AccessToken)
	resp, err := in.HTTP().Do(request)
	if err != nil {
		return contracts.Identity{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	var identity contracts.Identity
	return identity, json.NewDecoder(resp.Body).Decode(&identity)
}

// robot is a provider that has no users.
type robot struct {
	contracts.NoMetadata
	contracts.NoCredentials
	oauth2.ClientCredentials
}

func (robot) Name() string { return "Robot" }

// fixture is one process with a token-refresher and a scheduler.
type fixture struct {
	*api.Client
	t       *testing.T
	server  *server
	built   *platform.Platform
	store   *postgres.Store
	pool    *pgxpool.Pool
	metrics *prometheus.Registry
	nc      *nats.Conn
	told    *nats.Subscription
	url     string
	config  platform.Config
	// many numbers what is made in numbers.
	many atomic.Int64
}

// start runs a refresher and what belongs to it. change may alter its configuration.
func start(t *testing.T, change func(*platform.Config)) *fixture {
	t.Helper()
	t.Parallel()
	f := &fixture{t: t, server: newServer(t)}
	broker := natstest.New(t)
	f.nc = broker.Connect()
	f.Client = api.New(f.nc, patience)
	var err error
	if f.told, err = f.nc.SubscribeSync("tributary.events.>"); err != nil {
		t.Fatal(err)
	}
	// The address is known before the handler is.
	front := httptest.NewUnstartedServer(nil)
	f.url = "http://" + front.Listener.Addr().String()
	config := platform.Defaults()
	config.NATS, config.Pool, config.Ring = broker.Connect(), pgtest.DB(t), testRing(t)
	f.metrics = prometheus.NewRegistry()
	f.pool, config.Metrics = config.Pool, f.metrics
	config.Transport = http.DefaultTransport
	flow := mail{AuthorizationCode: oauth2.AuthorizationCode{Endpoints: f.server.endpoints(), Hosts: []string{f.server.URL}, Scopes: []string{"mail"}, Threshold: time.Minute}}
	config.Providers = map[string]contracts.Provider{
		"mail": flow, "club": club{flow},
		"robot": robot{ClientCredentials: oauth2.ClientCredentials{Endpoints: f.server.endpoints(), Client: func(*contracts.Integration) (oauth2.Client, error) {
			return oauth2.Client{ID: "robot", Secret: "s"}, nil
		}}},
	}
	s := &config.TokenRefresher
	s.Addr, s.PublicURL = "", f.url
	s.Tick, s.Sweep, s.Backoff = 20*time.Millisecond, 50*time.Millisecond, 50*time.Millisecond
	if change != nil {
		change(&config)
	}
	f.config = config
	if f.built, err = platform.New(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	f.store = f.built.Store
	front.Config.Handler = f.built.OAuthHandler()
	front.Start()
	t.Cleanup(front.Close)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.built.Run(ctx, platform.TokenRefresherService, platform.SchedulerService) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the services ended with: %v", err)
		}
	})
	f.await("the API to answer", func() bool { _, err := f.Secrets(t.Context()); return err == nil })
	return f
}

func testRing(t *testing.T) *secret.Ring {
	t.Helper()
	ring, err := secret.ParseRing("test:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func (f *fixture) await(what string, holds func() bool) {
	f.t.Helper()
	for deadline := time.Now().Add(patience); !holds(); {
		if time.Now().After(deadline) {
			f.t.Fatalf("waited %s for %s", patience, what)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// create makes an integration; token may be nil.
func (f *fixture) create(name, provider string, token *contracts.Token) uuid.UUID {
	f.t.Helper()
	fields := map[string]any{}
	if provider != "robot" {
		fields["client_id"], fields["client_secret"] = "mail", "secret"
	}
	if token != nil {
		fields["access_token"], fields["refresh_token"], fields["token_expires_at"] = token.AccessToken, token.RefreshToken, token.ExpiresAt
	}
	credentials, err := json.Marshal(fields)
	if err != nil {
		f.t.Fatal(err)
	}
	id, now := postgres.NewID(), time.Now()
	err = f.store.InTx(f.t.Context(), func(tx *postgres.Tx) error {
		if _, err := tx.IntegrationInsert(f.t.Context(), dbsqlc.IntegrationInsertParams{ID: id, Provider: provider, Name: name, Metadata: []byte("{}"), Now: now}); err != nil {
			return err
		}
		_, err := f.store.PutCredentials(f.t.Context(), tx, id, credentials, 0, postgres.Access{Who: "test", Why: "begin", At: now})
		return err
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return id
}

// waiting has a webhook of an integration wait for its token for two hours, and returns what reports whether it was
// woken.
func (f *fixture) waiting(id uuid.UUID) (woken func() bool) {
	f.t.Helper()
	_, err := f.pool.Exec(f.t.Context(), `insert into webhooks
		(id, integration_id, provider, delivery_id, event_type, sequence, method, path, query, headers, body, waiting_for, next_try_at, received_at, stored_at)
		values ($1, $2, 'mail', 'one', '', 1, 'POST', '/', '', '{}', '', 'token', now() + interval '2 hours', now(), now())`, postgres.NewID(), id)
	if err != nil {
		f.t.Fatal(err)
	}
	return func() (is bool) {
		f.t.Helper()
		err := f.pool.QueryRow(f.t.Context(), "select next_try_at < now() + interval '1 hour' from webhooks where integration_id = $1", id).Scan(&is)
		if err != nil {
			f.t.Fatal(err)
		}
		return is
	}
}

func (f *fixture) grant(id uuid.UUID) *dbsqlc.GrantGetRow {
	f.t.Helper()
	grant, err := f.store.GrantGet(f.t.Context(), id)
	if err != nil {
		f.t.Fatal(err)
	}
	return grant
}

func (f *fixture) awaitState(id uuid.UUID, state string) {
	f.t.Helper()
	f.await("the grant to be "+state, func() bool { return f.grant(id).State == state })
}

func (f *fixture) status(id uuid.UUID) string {
	f.t.Helper()
	row, err := f.store.IntegrationGet(f.t.Context(), id)
	if err != nil {
		f.t.Fatal(err)
	}
	return row.Status
}

// credentials are the stored ones.
func (f *fixture) credentials(id uuid.UUID) map[string]any {
	f.t.Helper()
	raw, _, err := f.store.Credentials(f.t.Context(), id, postgres.Access{Who: "test", Why: "look", At: time.Now()})
	if err != nil {
		f.t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(raw, &fields); err != nil {
		f.t.Fatal(err)
	}
	return fields
}

// event waits for an event of a name.
func (f *fixture) event(name events.Name) map[string]any {
	f.t.Helper()
	for {
		msg, err := f.told.NextMsg(patience)
		if err != nil {
			f.t.Fatalf("no event %s: %v", name, err)
		}
		got, _, _, err := events.ParseEventSubject(msg.Subject)
		if err != nil {
			f.t.Fatal(err)
		}
		if got == name {
			var body map[string]any
			if err := json.Unmarshal(msg.Data, &body); err != nil {
				f.t.Fatal(err)
			}
			return body
		}
	}
}

// browser keeps cookies, and follows redirects.
func browser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar}
}
