package oauth_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/pkg/events"
)

// proveVariable asks for the long proof, and says for how long it goes on.
const proveVariable = "TRIBUTARY_PROVE_OAUTH"

const (
	proveIntegrations = 200
	proveWorkers      = 8
	proveRefreshers   = 3
	// cutOne is how many answers of the token endpoint there are to one that is cut in the middle, and to one request that is cut before it arrives.
	cutOne = 1500
)

// oidcProvider is npm's oidc-provider at work.
type oidcProvider struct {
	issuer string
	client *http.Client
}

type oidcStats struct {
	Refreshed int            `json:"refreshed"`
	Reused    map[string]int `json:"reused"`
	Errors    map[string]int `json:"errors"`
}

// newOIDCProvider installs and starts it.
func newOIDCProvider(t *testing.T, redirectURI string) *oidcProvider {
	t.Helper()
	dir := t.TempDir()
	script, err := os.ReadFile(filepath.Join("testdata", "server.mjs"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "server.mjs"), script, 0o600); err != nil {
		t.Fatal(err)
	}
	install := exec.CommandContext(t.Context(), "npm", "install", "--silent", "--no-save", "oidc-provider@9.13.3")
	install.Dir = dir
	if said, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm install: %v: %s", err, said)
	}
	port := strconv.Itoa(natstest.FreePort(t))
	node := exec.Command("node", "server.mjs", port, redirectURI, fmt.Sprint(int(tokenLife.Seconds())))
	node.Dir = dir
	var said tail
	node.Stdout, node.Stderr = &said, &said
	node.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = node.Process.Kill()
		_ = node.Wait()
		if t.Failed() {
			t.Logf("--- oidc-provider\n%s", said.String())
		}
	})
	p := &oidcProvider{issuer: "http://127.0.0.1:" + port, client: &http.Client{Timeout: 20 * time.Second}}
	for deadline := time.Now().Add(patience); ; {
		if _, err := p.stats(); err == nil {
			return p
		}
		if time.Now().After(deadline) {
			t.Fatalf("oidc-provider does not start: %s", said.String())
		}
		<-time.After(50 * time.Millisecond)
	}
}

func (p *oidcProvider) stats() (stats oidcStats, err error) {
	resp, err := p.client.Get(p.issuer + "/stats")
	if err != nil {
		return stats, err
	}
	defer func() { _ = resp.Body.Close() }()
	return stats, json.NewDecoder(resp.Body).Decode(&stats)
}

// newAPI takes the server's access tokens, and counts those that have expired.
func newAPI(t *testing.T) (server *httptest.Server, served, expired *atomic.Int64) {
	t.Helper()
	served, expired = &atomic.Int64{}, &atomic.Int64{}
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ends, err := expiryOf(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		if err != nil || !time.Now().Before(ends) {
			expired.Add(1)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		served.Add(1)
	}))
	t.Cleanup(server.Close)
	return server, served, expired
}

func expiryOf(token string) (time.Time, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}, errors.New("not a token")
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}, err
	}
	var claims struct {
		Exp int64 `json:"exp"`
	}
	err = json.Unmarshal(raw, &claims)
	return time.Unix(claims.Exp, 0), err
}

// cutter is a wire to the authorization server that breaks now and then: before a request has arrived, or in the middle of an answer.
type cutter struct {
	target   string
	listener net.Listener
	active   atomic.Bool
	requests atomic.Int64
	answers  atomic.Int64
}

func newCutter(t *testing.T, target string) *cutter {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{target: strings.TrimPrefix(target, "http://"), listener: listener}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go c.join(conn)
		}
	}()
	return c
}

func (c *cutter) url() string { return "http://" + c.listener.Addr().String() }

func (c *cutter) join(conn net.Conn) {
	other, err := net.Dial("tcp", c.target)
	if err != nil {
		_ = conn.Close()
		return
	}
	go c.copy(other, conn, &c.requests, false)
	c.copy(conn, other, &c.answers, true)
}

// copy passes on what comes, but for now and then: then it passes on half of it, or nothing, and breaks the connection.
func (c *cutter) copy(to, from net.Conn, cuts *atomic.Int64, half bool) {
	defer func() { _, _ = to.Close(), from.Close() }()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && c.active.Load() && rand.N(cutOne) == 0 {
			cuts.Add(1)
			if half {
				_, _ = to.Write(buffer[:n/2])
			}
			return
		}
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// marks are the grants that were marked, by integration; their users authorize again.
type marks struct {
	mu         sync.Mutex
	lost, ends map[string]int
	again      int
}

// watch hears of grants that have ended, and has their users authorize again.
func (m *marks) watch(ctx context.Context, w *world) {
	told, err := w.nc.SubscribeSync(events.EventSubject(events.ReauthRequired, "account", "*"))
	if err != nil {
		w.t.Error(err)
		return
	}
	for {
		msg, err := told.NextMsgWithContext(ctx)
		if err != nil {
			return
		}
		var event struct {
			Lost        bool `json:"lost"`
			Integration struct {
				ID   string `json:"integration_id"`
				Name string `json:"name"`
			} `json:"integration"`
		}
		if err := json.Unmarshal(msg.Data, &event); err != nil {
			w.t.Error(err)
			return
		}
		m.mu.Lock()
		m.ends[event.Integration.Name]++
		if event.Lost {
			m.lost[event.Integration.Name]++
		}
		m.mu.Unlock()
		id := uuid.MustParse(event.Integration.ID)
		go func() {
			for w.connect(ctx, id) != nil && ctx.Err() == nil {
				<-time.After(100 * time.Millisecond)
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			m.again++
		}()
	}
}

// killer kills refreshers at random, and starts others.
func killer(ctx context.Context, w *world, refreshers []*process) (kills int) {
	for {
		select {
		case <-ctx.Done():
			return kills
		case <-time.After(2*time.Second + rand.N(5*time.Second)):
		}
		at := rand.N(len(refreshers))
		refreshers[at].kill()
		kills++
		refreshers[at] = w.service("token-refresher")
	}
}

// TestProveRotation has two hundred integrations and eight processes that send requests live through killed refreshers and a broken wire, against a server that ends a grant
// when its refresh token comes twice. What it proves is at its end.
func TestProveRotation(t *testing.T) {
	long, err := time.ParseDuration(os.Getenv(proveVariable))
	if err != nil {
		t.Skip("make prove runs it: it takes npm, and ten minutes")
	}
	w := newWorld(t)
	// A call may take 20 s, and a lease 40: on a machine that is this busy, a server that is slow is not one that is gone.
	w.timing = 4 * time.Second
	server := newOIDCProvider(t, w.front.URL+"/integrations/oauth/callback")
	target, served, expired := newAPI(t)
	wire := newCutter(t, server.issuer)
	w.service("scheduler")
	var refreshers []*process
	for range proveRefreshers {
		refreshers = append(refreshers, w.service("token-refresher"))
	}
	ids := make([]uuid.UUID, proveIntegrations)
	for i := range ids {
		ids[i] = w.create(fmt.Sprintf("account-%d", i), accountMetadata{
			Issuer: server.issuer, AuthURL: server.issuer + "/auth", TokenURL: wire.url() + "/token", RevokeURL: server.issuer + "/token/revocation", API: target.URL,
		}, accountCredentials{ClientID: "proof", ClientSecret: "proof-secret"})
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	marked := &marks{lost: map[string]int{}, ends: map[string]int{}}
	go marked.watch(ctx, w)
	w.connectAll(ids)
	var workers []*process
	for range proveWorkers {
		workers = append(workers, w.start("worker", nil, "INTEGRATIONS="+joined(ids), "PAUSE=4s"))
	}
	wire.active.Store(true)
	killing, stopKilling := context.WithTimeout(ctx, long)
	defer stopKilling()
	kills := killer(killing, w, refreshers)
	wire.active.Store(false)
	// All that is left of a grant shows when it is refreshed once more.
	quiet := time.Now()
	var unmarked []string
	w.await("every grant to be refreshed once more, or marked", func() bool {
		unmarked = unmarked[:0]
		for _, id := range ids {
			grant, err := w.store.GrantGet(t.Context(), id)
			if err != nil || grant.State != "connected" || grant.ObtainedAt == nil || grant.ObtainedAt.Before(quiet) {
				unmarked = append(unmarked, id.String())
			}
		}
		return len(unmarked) == 0
	})
	var total tally
	for _, worker := range workers {
		seen := worker.stop(t)
		total.OK, total.Refused, total.Deferred, total.Failed = total.OK+seen.OK, total.Refused+seen.Refused, total.Deferred+seen.Deferred, total.Failed+seen.Failed
		total.Stale += seen.Stale
		for failure, n := range seen.Failures {
			t.Logf("%d requests failed with %s", n, failure)
		}
	}
	stats, err := server.stats()
	if err != nil {
		t.Fatal(err)
	}
	marked.mu.Lock()
	defer marked.mu.Unlock()
	reuses, lost, ends := 0, 0, 0
	for name, n := range stats.Reused {
		reuses += n
		if n > marked.lost[name] {
			t.Errorf("%s: %d refresh tokens were used twice, %d grants were marked as lost when a refresh broke off", name, n, marked.lost[name])
		}
	}
	for name, n := range marked.ends {
		ends, lost = ends+n, lost+marked.lost[name]
		if n != marked.lost[name] {
			t.Errorf("%s: %d grants ended, only %d of them when a refresh broke off", name, n, marked.lost[name])
		}
	}
	t.Logf("%s: %d refreshes; %d requests answered, %d put off, %d failed; %d kills, %d requests and %d answers cut",
		long, stats.Refreshed, served.Load(), total.Deferred, total.Failed, kills, wire.requests.Load(), wire.answers.Load())
	t.Logf("%d grants ended, %d of them because an answer was lost; the server saw %d second uses; %d were connected again; its refusals: %v",
		ends, lost, reuses, marked.again, stats.Errors)
	t.Logf("%d requests were so long on the way that their token had expired when they came in; %d were refused in the end", expired.Load(), total.Refused)
	if total.Stale != 0 {
		t.Errorf("%d requests left with a token that had expired", total.Stale)
	}
}
