package tokenrefresher_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"sync"
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
const patience = 30 * time.Second

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

// robot is a provider that has no users.
type robot struct {
	contracts.NoMetadata
	contracts.NoCredentials
	oauth2.ClientCredentials
}

func (robot) Name() string { return "Robot" }

// server is an authorization server with rotating refresh tokens, and the API that takes its access tokens. It ends a grant when a refresh token comes twice.
type server struct {
	*httptest.Server

	mu sync.Mutex
	// life is how long access tokens last.
	life time.Duration
	// answer, unless nil, is asked before a token is granted; false means that it has answered.
	answer func(w http.ResponseWriter, r *http.Request) bool
	// after is called once a refresh token is spent, before the answer.
	after   func(w http.ResponseWriter, r *http.Request) bool
	codes   map[string]string
	grants  map[string]string
	spent   map[string]string
	access  map[string]time.Time
	reuses  int
	asked   int
	revoked []string
	number  int
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{life: time.Hour, codes: map[string]string{}, grants: map[string]string{}, spent: map[string]string{}, access: map[string]time.Time{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /authorize", s.authorize)
	mux.HandleFunc("POST /token", s.token)
	mux.HandleFunc("POST /revoke", s.revoke)
	mux.HandleFunc("/api", s.api)
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func (s *server) endpoints() oauth2.Endpoints {
	return oauth2.Endpoints{AuthURL: s.URL + "/authorize", TokenURL: s.URL + "/token", RevokeURL: s.URL + "/revoke", Issuer: s.URL}
}

// authorize grants at once, as a user who always agrees.
func (s *server) authorize(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := r.URL.Query()
	s.number++
	code := fmt.Sprintf("code-%d", s.number)
	s.codes[code] = q.Get("code_challenge")
	back := url.Values{"state": {q.Get("state")}, "code": {code}, "iss": {s.URL}}
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+back.Encode(), http.StatusFound)
}

// plant makes a grant, and returns its tokens.
func (s *server) plant(family string) contracts.Token {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.issue(family)
}

func (s *server) issue(family string) contracts.Token {
	s.number++
	expires := time.Now().Add(s.life)
	token := contracts.Token{AccessToken: fmt.Sprintf("access-%d", s.number), RefreshToken: fmt.Sprintf("refresh-%d", s.number), ExpiresAt: &expires}
	s.access[token.AccessToken], s.grants[token.RefreshToken] = expires, family
	return token
}

func (s *server) token(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.answer != nil && !s.answer(w, r) {
		return
	}
	family := "robot"
	switch r.FormValue("grant_type") {
	case "authorization_code":
		challenge, ok := s.codes[r.FormValue("code")]
		delete(s.codes, r.FormValue("code"))
		if !ok || challenge == "" || challenge != challengeOf(r.FormValue("code_verifier")) {
			refuse(w, http.StatusBadRequest, "invalid_grant")
			return
		}
		family = r.FormValue("code")
	case "refresh_token":
		refresh := r.FormValue("refresh_token")
		if used, ok := s.spent[refresh]; ok {
			s.reuses++
			for other, f := range s.grants {
				if f == used {
					delete(s.grants, other)
				}
			}
		}
		found, ok := s.grants[refresh]
		if !ok {
			refuse(w, http.StatusBadRequest, "invalid_grant")
			return
		}
		family = found
		delete(s.grants, refresh)
		s.spent[refresh] = family
	}
	token := s.issue(family)
	if s.after != nil && !s.after(w, r) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"access_token": token.AccessToken, "refresh_token": token.RefreshToken, "expires_in": int(s.life.Seconds()), "token_type": "Bearer",
	})
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"error":%q}`, code)
}

func (s *server) revoke(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.answer != nil && !s.answer(w, r) {
		return
	}
	s.revoked = append(s.revoked, r.FormValue("token"))
	delete(s.grants, r.FormValue("token"))
}

// api takes tokens that have not expired.
func (s *server) api(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	token := r.Header.Get("Authorization")
	if expires, ok := s.access[token[min(len("Bearer "), len(token)):]]; !ok || !time.Now().Before(expires) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	_, _ = w.Write([]byte("{}"))
}

// with changes how the server behaves.
func (s *server) with(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// count reads a number of the server's.
func (s *server) count(n *int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *n
}

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
	config.Providers = map[string]contracts.Provider{
		"mail": mail{AuthorizationCode: oauth2.AuthorizationCode{Endpoints: f.server.endpoints(), Hosts: []string{f.server.URL}, Scopes: []string{"mail"}, Threshold: time.Minute}},
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
	if provider == "mail" {
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
