package oauth_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/outbound"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/secret"
)

const (
	// patience is how long a test waits for what must happen.
	patience = 3 * time.Minute
)

// world is a whole system, and the routes for browsers in this process, which nobody kills.
type world struct {
	*api.Client
	t        *testing.T
	nc       *nats.Conn
	store    *postgres.Store
	natsURL  string
	database string
	keys     string
	front    *httptest.Server
	// timing is the clock that the processes run by: see TRIBUTARY_TEST_TIMING.
	timing time.Duration
	// login takes a browser from the authorization server's login to the end.
	login func(b *http.Client, at *http.Response) (*http.Response, error)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	broker := natstest.NewListening(t)
	w := &world{t: t, nc: broker.Connect(), natsURL: broker.URL(), database: pgtest.URL(t), keys: filepath.Join(t.TempDir(), "keys"), timing: time.Second}
	w.Client = api.New(w.nc, 20*time.Second)
	pool, err := pgxpool.New(t.Context(), w.database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	config := platform.Defaults()
	config.NATS, config.Pool, config.Providers = broker.Connect(), pool, providers()
	if config.Ring, err = secret.LoadOrCreate(w.keys, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if config.Egress.Networks, err = outbound.ParseNetworks([]string{outbound.LoopbackNetworks}); err != nil {
		t.Fatal(err)
	}
	w.front = httptest.NewUnstartedServer(nil)
	w.front.Config.Handler = http.NotFoundHandler()
	config.TokenRefresher.PublicURL = "http://" + w.front.Listener.Addr().String()
	built, err := platform.New(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	w.store = built.Store
	w.front.Config.Handler = built.OAuthHandler()
	w.front.Start()
	t.Cleanup(w.front.Close)
	return w
}

// process is one process of the proof.
type process struct {
	name   string
	cmd    *exec.Cmd
	out    bytes.Buffer
	errors tail
	ended  chan struct{}
}

// start starts this binary in a role.
func (w *world) start(role string, args []string, env ...string) *process {
	w.t.Helper()
	p := &process{name: strings.Join(append([]string{role}, args...), " "), ended: make(chan struct{})}
	p.cmd = exec.Command(os.Args[0], args...)
	p.cmd.Env = append(append(os.Environ(), roleVariable+"="+role, "DATABASE_URL="+w.database, "TRIBUTARY_NATS_URL="+w.natsURL, "TRIBUTARY_KEYS_FILE="+w.keys,
		"TRIBUTARY_TEST_TIMING="+w.timing.String(), "TRIBUTARY_ALLOW_NETWORKS=loopback", "TRIBUTARY_OAUTH_URL="+w.front.URL, "GOMAXPROCS=2"), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.errors
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		w.t.Error(err)
		close(p.ended)
		return p
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	return p
}

// service starts one of the program's services, which lives until the test ends.
func (w *world) service(name string, env ...string) *process {
	p := w.start("service", []string{name, "--http-addr=", "--oauth-addr=", "--connections=10"}, env...)
	w.t.Cleanup(func() {
		p.kill()
		if w.t.Failed() {
			w.t.Logf("--- %s\n%s", p.name, p.errors.String())
		}
	})
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// stop ends a worker and returns its tally.
func (p *process) stop(t *testing.T) (seen tally) {
	t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	<-p.ended
	if err := json.Unmarshal(p.out.Bytes(), &seen); err != nil {
		t.Errorf("a worker told %q (%v); %s", p.out.String(), err, p.errors.String())
	}
	return seen
}

// tail keeps the end of what is written.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (l *tail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b = append(l.b, p...)
	if len(l.b) > 64<<10 {
		l.b = append([]byte{}, l.b[len(l.b)-32<<10:]...)
	}
	return len(p), nil
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.b)
}

func (w *world) await(what string, holds func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); !holds(); {
		if time.Now().After(deadline) {
			w.t.Fatalf("waited %s for %s", patience, what)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// create makes an integration that nobody has authorized yet.
func (w *world) create(name string, metadata accountMetadata, credentials accountCredentials) uuid.UUID {
	w.t.Helper()
	id, now := postgres.NewID(), time.Now()
	err := w.store.InTx(w.t.Context(), func(tx *postgres.Tx) error {
		if _, err := tx.IntegrationInsert(w.t.Context(), dbsqlc.IntegrationInsertParams{
			ID: id, Provider: "account", Name: name, Metadata: encoded(w.t, metadata), Now: now,
		}); err != nil {
			return err
		}
		_, err := w.store.PutCredentials(w.t.Context(), tx, id, encoded(w.t, credentials), 0, postgres.Access{Who: "test", Why: "begin", At: now})
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

func encoded(t *testing.T, value any) json.RawMessage {
	t.Helper()
	raw, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// connect has a user authorize, from the link to the last page.
func (w *world) connect(ctx context.Context, id uuid.UUID) error {
	link, err := w.ConnectIntegration(ctx, api.ConnectIntegration{Provider: "account", Integration: id.String(), By: "test"})
	if err != nil {
		return err
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	b := &http.Client{Jar: jar, Timeout: 20 * time.Second}
	resp, err := b.Get(link.URL)
	if err == nil && w.login != nil {
		resp, err = w.login(b, resp)
	}
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	page, err := io.ReadAll(io.LimitReader(resp.Body, 16<<10))
	if err == nil && (resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Request.URL.String(), w.front.URL)) {
		err = fmt.Errorf("it ends at %s with %d: %s", resp.Request.URL.Host+resp.Request.URL.Path, resp.StatusCode, page)
	}
	return err
}

// connectAll has the users of all integrations authorize.
func (w *world) connectAll(ids []uuid.UUID) {
	w.t.Helper()
	w.await("a token-refresher", func() bool { _, err := w.Secrets(w.t.Context()); return err == nil })
	for _, id := range ids {
		if err := w.connect(w.t.Context(), id); err != nil {
			w.t.Fatalf("authorize: %v", err)
		}
	}
}

func joined(ids []uuid.UUID) string {
	texts := make([]string, 0, len(ids))
	for _, id := range ids {
		texts = append(texts, id.String())
	}
	return strings.Join(texts, " ")
}
