package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/tributaryhq/tributary/internal/integrations"
	"github.com/tributaryhq/tributary/internal/outbound"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/secret"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/oauth2"
)

// tokensKey names the provider whose tokens are refreshed.
const tokensKey = "tokens"

type tokenHolder struct {
	contracts.NoCredentials
	contracts.NoMetadata
	oauth2.AuthorizationCode
}

func (tokenHolder) Name() string { return "Tokens" }

// tokensMeasured is what refreshing many tokens that end together took.
type tokensMeasured struct {
	used usage
	// most is how many requests the authorization server had at a time.
	most int64
	// requests is how often it was asked.
	requests int64
}

// measureTokens has one token-refresher get many tokens that have all expired, over HTTP from a server on this machine that rotates refresh tokens and takes no time.
func measureTokens(ctx context.Context, s *servers, opts options) (measured tokensMeasured, err error) {
	var now, most, requests atomic.Int64
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return measured, fmt.Errorf("listen: %w", err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		at := now.Add(1)
		defer now.Add(-1)
		for seen := most.Load(); at > seen && !most.CompareAndSwap(seen, at); seen = most.Load() {
		}
		n := requests.Add(1)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": fmt.Sprint("access-", n), "refresh_token": fmt.Sprint("refresh-", n), "expires_in": 3600})
	})}
	go func() { _ = server.Serve(listener) }()
	defer func() { _ = server.Close() }()
	built, closeAll, err := startTokens(ctx, s, "http://"+listener.Addr().String())
	if err != nil {
		return measured, err
	}
	defer closeAll()
	if err := insertExpired(ctx, s, built, opts.tokens); err != nil {
		return measured, err
	}
	running, cancel := context.WithCancel(ctx)
	meter := startMeter(s.database)
	group, running := errgroup.WithContext(running)
	group.Go(func() error { return built.Run(running, platform.TokenRefresherService) })
	err = awaitRefreshed(ctx, s, opts.tokens)
	measured = tokensMeasured{used: meter.stop(), most: most.Load(), requests: requests.Load()}
	cancel()
	if ended := group.Wait(); err == nil {
		err = ended
	}
	return measured, err
}

func startTokens(ctx context.Context, s *servers, address string) (*platform.Platform, func(), error) {
	ring, err := secret.LoadOrCreate(filepath.Join(s.dir, "keys"), slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, nil, err
	}
	nc, err := s.nats.Connect()
	if err != nil {
		return nil, nil, err
	}
	config := platform.Defaults()
	config.NATS, config.Pool, config.Ring = nc, s.pool, ring
	if config.Egress.Networks, err = outbound.ParseNetworks([]string{outbound.LoopbackNetworks}); err != nil {
		return nil, nil, err
	}
	config.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	config.TokenRefresher.Addr = ""
	config.Providers = map[string]contracts.Provider{tokensKey: tokenHolder{AuthorizationCode: oauth2.AuthorizationCode{
		Endpoints: oauth2.Endpoints{TokenURL: address},
		Client: func(*contracts.Integration) (oauth2.Client, error) {
			return oauth2.Client{ID: "bench", Secret: "s"}, nil
		},
	}}}
	built, err := platform.New(ctx, config)
	return built, nc.Close, err
}

// insertExpired makes integrations whose tokens have ended. They are adopted already: it is the refresh that is measured.
func insertExpired(ctx context.Context, s *servers, built *platform.Platform, many int) error {
	now := time.Now()
	expired := now.Add(-time.Minute)
	for made := 0; made < many; {
		err := built.Store.InTx(ctx, func(tx *postgres.Tx) error {
			for range min(500, many-made) {
				if err := insertOne(ctx, built, tx, now, expired); err != nil {
					return err
				}
				made++
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("create integrations: %w", err)
		}
	}
	// Statistics as a database has that was not filled a moment ago.
	_, err := s.pool.Exec(ctx, "analyze")
	return err
}

func insertOne(ctx context.Context, built *platform.Platform, tx *postgres.Tx, now, expired time.Time) error {
	id := postgres.NewID()
	credentials := expiredCredentials(id, expired)
	_, err := tx.IntegrationInsert(ctx, dbsqlc.IntegrationInsertParams{ID: id, Provider: tokensKey, Name: id.String(), Metadata: []byte("{}"), Now: now})
	if err != nil {
		return fmt.Errorf("insert integration: %w", err)
	}
	version, err := built.Store.PutCredentials(ctx, tx, id, credentials, 0, postgres.Access{Who: "bench", Why: "begin", At: now})
	if err != nil {
		return err
	}
	tokenID, _, err := integrations.TokenID(contracts.NewIntegration(contracts.IntegrationFields{Credentials: credentials}))
	if err != nil {
		return err
	}
	_, err = tx.GrantAdopt(ctx, dbsqlc.GrantAdoptParams{
		IntegrationID: id, Provider: tokensKey, State: "connected", TokenID: tokenID, CredentialsVersion: version, Refreshable: true,
		ExpiresAt: &expired, DueAt: &expired, Now: now,
	})
	return err
}

func expiredCredentials(id uuid.UUID, expired time.Time) []byte {
	return fmt.Appendf(nil, `{"access_token":"old","refresh_token":%q,"token_expires_at":%q}`, id, expired.Format(time.RFC3339))
}

func awaitRefreshed(ctx context.Context, s *servers, many int) error {
	for {
		var done int
		err := s.pool.QueryRow(ctx, "select count(*) from oauth_grants where provider = $1 and obtained_at is not null", tokensKey).Scan(&done)
		if err != nil {
			return fmt.Errorf("count refreshed tokens: %w", err)
		}
		if done >= many {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func writeTokens(w io.Writer, about, load string, opts options, m tokensMeasured) error {
	_, err := fmt.Fprintf(w, "%s Load average %s at the start and %s at the end.\n\n"+
		"| tokens that ended together | refreshes/s | CPU each, µs | of which Postgres | requests to the server | at a time |\n| ---: | ---: | ---: | ---: | ---: | ---: |\n"+
		"| %d | %.0f | %.0f | %.0f | %d | %d |\n",
		about, load, loadAverage(), opts.tokens, float64(opts.tokens)/m.used.Took.Seconds(),
		micros(m.used.Own+m.used.Database)/float64(opts.tokens), micros(m.used.Database)/float64(opts.tokens), m.requests, m.most)
	return err
}
