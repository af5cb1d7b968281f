// Package oauth_test proves the OAuth2 life of integrations with real processes, against authorization servers that nobody here wrote: zitadel/oidc in the
// test's process, and npm's oidc-provider where that is asked for.
package oauth_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"

	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/outbound"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/secret"
	"github.com/tributaryhq/tributary/pkg/app"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/oauth2"
)

// roleVariable makes this test binary one of the processes of a proof: "service" is the program itself, "worker" sends requests.
const roleVariable = "TRIBUTARY_OAUTH_PROCESS"

func TestMain(m *testing.M) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch os.Getenv(roleVariable) {
	case "service":
		os.Exit(app.Run(ctx, os.Args[1:], app.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, app.Providers(providers())))
	case "worker":
		if err := work(ctx); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, "worker:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(pgtest.Main(m))
}

// account is a provider whose authorization server is told by its metadata.
type account struct {
	contracts.TypedCredentials[accountCredentials]
	contracts.TypedMetadata[accountMetadata]
	oauth2.AuthorizationCode
}

type accountCredentials struct {
	ClientID     string `json:"client_id" validate:"required"`
	ClientSecret string `json:"client_secret"`
}

type accountMetadata struct {
	Issuer    string `json:"issuer"`
	AuthURL   string `json:"auth_url"`
	TokenURL  string `json:"token_url"`
	RevokeURL string `json:"revoke_url"`
	API       string `json:"api"`
}

func (account) Name() string { return "Account" }

func providers() map[string]contracts.Provider {
	return map[string]contracts.Provider{"account": account{AuthorizationCode: oauth2.AuthorizationCode{
		Scopes: []string{"openid", "offline_access", "mail"},
		At: func(in *contracts.Integration) (oauth2.Endpoints, error) {
			m, err := contracts.MetadataOf[accountMetadata](in)
			// The account to log in as is hinted at, for there is nobody to choose one.
			return oauth2.Endpoints{AuthURL: m.AuthURL + "?login_hint=" + in.Name(), TokenURL: m.TokenURL, RevokeURL: m.RevokeURL, Issuer: m.Issuer}, err
		},
	}}}
}

// tally is what a worker has seen.
type tally struct {
	OK        int            `json:"ok"`
	Refused   int            `json:"refused"`
	Deferred  int            `json:"deferred"`
	Failed    int            `json:"failed"`
	Failures  map[string]int `json:"failures"`
	LongestMS int64          `json:"longest_ms"`
	// Stale are requests that left with a token that had expired, where the token tells that.
	Stale int64 `json:"stale"`
}

// departures looks at the tokens of requests as they leave, and counts those that had expired when the request began. A token that ends while the
// machine has no time for the process, or on the way, is nobody's fault.
type departures struct {
	next  http.RoundTripper
	stale atomic.Int64
}

func (d *departures) RoundTrip(req *http.Request) (*http.Response, error) {
	began, _ := req.Context().Value(beganKey{}).(time.Time)
	if ends, err := expiryOf(strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer ")); err == nil && !began.Before(ends) {
		d.stale.Add(1)
	}
	return d.next.RoundTrip(req)
}

type beganKey struct{}

// work sends requests for every integration until it is told to stop, and then prints what came of them.
func work(ctx context.Context) error {
	pause, err := time.ParseDuration(os.Getenv("PAUSE"))
	if err != nil {
		return err
	}
	pool, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	defer pool.Close()
	nc, err := nats.Connect(os.Getenv("TRIBUTARY_NATS_URL"))
	if err != nil {
		return err
	}
	defer nc.Close()
	config := platform.Defaults()
	config.NATS, config.Pool, config.Providers = nc, pool, providers()
	if config.Ring, err = secret.LoadOrCreate(os.Getenv("TRIBUTARY_KEYS_FILE"), slog.New(slog.DiscardHandler)); err != nil {
		return err
	}
	if config.Egress.Networks, err = outbound.ParseNetworks([]string{outbound.LoopbackNetworks}); err != nil {
		return err
	}
	left := &departures{next: outbound.NewTransport(config.Egress)}
	config.Transport = left
	built, err := platform.New(ctx, config)
	if err != nil {
		return err
	}
	go func() { _ = built.Run(ctx) }()
	var group sync.WaitGroup
	var mu sync.Mutex
	seen := tally{Failures: map[string]int{}}
	for _, text := range strings.Fields(os.Getenv("INTEGRATIONS")) {
		id, err := uuid.Parse(text)
		if err != nil {
			return err
		}
		group.Go(func() {
			for ctx.Err() == nil {
				wait := request(ctx, built, id, func(record func(*tally)) {
					mu.Lock()
					defer mu.Unlock()
					record(&seen)
				})
				select {
				case <-ctx.Done():
				case <-time.After(max(wait, pause)):
				}
			}
		})
	}
	group.Wait()
	seen.Stale = left.stale.Load()
	return json.NewEncoder(os.Stdout).Encode(seen)
}

// request sends one request, and returns how long to leave it.
func request(ctx context.Context, built *platform.Platform, id uuid.UUID, record func(func(*tally))) time.Duration {
	started := time.Now()
	status, err := ask(ctx, built, id)
	if ctx.Err() != nil {
		return 0
	}
	deferral, deferred := contracts.AsDeferral(err)
	record(func(t *tally) {
		t.LongestMS = max(t.LongestMS, time.Since(started).Milliseconds())
		switch {
		case deferred:
			t.Deferred++
		case err != nil:
			t.Failed++
			t.Failures[err.Error()[:min(len(err.Error()), 120)]]++
		case status == http.StatusUnauthorized:
			t.Refused++
		case status == http.StatusOK:
			t.OK++
		default:
			t.Failed++
			t.Failures[strconv.Itoa(status)]++
		}
	})
	if deferred {
		return min(deferral.Delay, time.Second)
	}
	return 0
}

func ask(ctx context.Context, built *platform.Platform, id uuid.UUID) (int, error) {
	in, err := built.Integrations.Current(ctx, id)
	if err != nil {
		return 0, err
	}
	metadata, err := contracts.MetadataOf[accountMetadata](in)
	if err != nil {
		return 0, err
	}
	ctx = context.WithValue(ctx, beganKey{}, time.Now())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, metadata.API, nil)
	if err != nil {
		return 0, err
	}
	resp, err := in.HTTP().Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}
