package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"

	"github.com/tributaryhq/tributary/internal/outbound"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/secret"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// guardedKey names the provider whose requests are measured.
const guardedKey = "guarded"

// guarded has everything that costs a request something: credentials, a budget that is never used up, and paths to redact.
type guarded struct {
	contracts.TypedCredentials[guardedCredentials]
	contracts.NoMetadata
}

type guardedCredentials struct {
	Key string `json:"key" validate:"required"`
}

func (guarded) Name() string                     { return "Guarded" }
func (guarded) SupportsIdempotency()             {}
func (guarded) RateLimit() *contracts.RateLimit  { return contracts.PerHour(100_000_000) }
func (guarded) SensitiveRequestFields() []string { return []string{"customer.iban"} }
func (guarded) SensitiveResponseFields() []string {
	return []string{"owner.phone", "data.*.mail"}
}

func (guarded) Authenticate(in *contracts.Integration, req *http.Request) error {
	credentials, err := contracts.CredentialsOf[guardedCredentials](in)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+credentials.Key)
	return nil
}

// outside is what requests are measured with: a server on this machine that answers at once, a client of our own and one of the platform's.
type outside struct {
	server      *http.Server
	url         string
	bare, chain *http.Client
	nc          *nats.Conn
	pool        *pgxpool.Pool
	database    processTree
	// sent counts requests through the chain.
	sent   int
	cancel context.CancelFunc
	ended  chan error
}

func startOutside(ctx context.Context, s *servers) (*outside, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	answer, err := json.Marshal(newRecord(1))
	if err != nil {
		return nil, fmt.Errorf("encode the answer: %w", err)
	}
	o := &outside{url: "http://" + listener.Addr().String() + "/orders/1", pool: s.pool, database: s.database, ended: make(chan error, 1)}
	o.server = &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(answer)
	})}
	go func() { _ = o.server.Serve(listener) }()
	networks, err := outbound.ParseNetworks([]string{outbound.LoopbackNetworks})
	if err != nil {
		return nil, err
	}
	o.bare = &http.Client{Transport: outbound.NewTransport(outbound.Egress{Networks: networks})}
	ring, err := secret.LoadOrCreate(filepath.Join(s.dir, "keys"), slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	if o.nc, err = s.nats.Connect(); err != nil {
		return nil, err
	}
	config := platform.Defaults()
	config.NATS, config.Pool, config.Ring, config.Egress.Networks = o.nc, s.pool, ring, networks
	config.Providers = map[string]contracts.Provider{guardedKey: guarded{}}
	config.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	built, err := platform.New(ctx, config)
	if err != nil {
		return nil, err
	}
	running, cancel := context.WithCancel(ctx)
	o.cancel = cancel
	go func() { o.ended <- built.Run(running) }()
	in, err := newGuarded(ctx, built)
	if err != nil {
		o.stop()
		return nil, err
	}
	o.chain = in.HTTP()
	return o, nil
}

func newGuarded(ctx context.Context, built *platform.Platform) (*contracts.Integration, error) {
	id, now := postgres.NewID(), time.Now()
	err := built.Store.InTx(ctx, func(tx *postgres.Tx) error {
		_, err := tx.IntegrationInsert(ctx, dbsqlc.IntegrationInsertParams{ID: id, Provider: guardedKey, Name: id.String(), Metadata: []byte("{}"), Now: now})
		if err != nil {
			return fmt.Errorf("create an integration: %w", err)
		}
		_, err = built.Store.PutCredentials(ctx, tx, id, []byte(`{"key":"of-the-benchmark"}`), 0, postgres.Access{At: now})
		return err
	})
	if err != nil {
		return nil, err
	}
	return built.Integrations.Current(ctx, id)
}

func (o *outside) stop() {
	o.cancel()
	<-o.ended
	o.nc.Close()
	_ = o.server.Close()
}

// outboundCase is one kind of request, through one client.
type outboundCase struct {
	name   string
	client *http.Client
	method string
	// with adds to a request's context what the case is about; it may be nil.
	with   func(ctx context.Context, n int) (context.Context, error)
	rounds []outboundUsage
}

// outboundUsage is what one request took: of time, of this process's and Postgres's CPU, of allocations and of messages to the broker. This process holds
// the upstream and the broker too.
type outboundUsage struct {
	took, own, database                time.Duration
	allocations, bytes, brokerMessages float64
}

func (o *outside) cases() []*outboundCase {
	keyed := func(ctx context.Context, n int) (context.Context, error) {
		return contracts.WithIdempotencyKey(ctx, fmt.Sprintf("bench-%d-%d", time.Now().UnixNano(), n))
	}
	return []*outboundCase{
		{name: "GET, bare", client: o.bare, method: http.MethodGet},
		{name: "GET, whole chain", client: o.chain, method: http.MethodGet},
		{name: "POST, bare", client: o.bare, method: http.MethodPost},
		{name: "POST, whole chain", client: o.chain, method: http.MethodPost},
		{name: "POST with an idempotency key, whole chain", client: o.chain, method: http.MethodPost, with: keyed},
	}
}

// measureOutbound sends requests one after the other, every case once in each round.
func measureOutbound(ctx context.Context, s *servers, opts options) ([]*outboundCase, error) {
	o, err := startOutside(ctx, s)
	if err != nil {
		return nil, err
	}
	defer o.stop()
	cases := o.cases()
	for _, c := range cases {
		// The first use of anything is slower than all later ones.
		if _, err := o.measure(ctx, c, min(opts.requests, 1000)); err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
	}
	for round := range opts.rounds {
		for _, c := range cases {
			used, err := o.measure(ctx, c, opts.requests)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			c.rounds = append(c.rounds, used)
			fmt.Fprintf(os.Stderr, "round %d  %-45s %8.1f µs\n", round+1, c.name, micros(used.took))
		}
	}
	return cases, nil
}

func (o *outside) measure(ctx context.Context, c *outboundCase, requests int) (outboundUsage, error) {
	body, err := json.Marshal(newRecord(1))
	if err != nil {
		return outboundUsage{}, fmt.Errorf("encode: %w", err)
	}
	var before, after runtime.MemStats
	meter := startMeter(o.database)
	runtime.ReadMemStats(&before)
	messages := o.nc.Stats().OutMsgs
	for n := range requests {
		if err := o.send(ctx, c, n, string(body)); err != nil {
			return outboundUsage{}, err
		}
	}
	took := time.Since(meter.started)
	// The request log is written off the request's path, and belongs to it all the same.
	if c.client == o.chain {
		o.sent += requests
	}
	if err := o.awaitRows(ctx); err != nil {
		return outboundUsage{}, err
	}
	used := meter.stop()
	used.Took = took
	runtime.ReadMemStats(&after)
	each := func(n uint64) float64 { return float64(n) / float64(requests) }
	return outboundUsage{
		took: used.Took / time.Duration(requests), own: used.Own / time.Duration(requests), database: used.Database / time.Duration(requests),
		allocations: each(after.Mallocs - before.Mallocs), bytes: each(after.TotalAlloc - before.TotalAlloc),
		brokerMessages: each(o.nc.Stats().OutMsgs - messages),
	}, nil
}

// awaitRows returns once all that was sent through the chain is in the request log.
func (o *outside) awaitRows(ctx context.Context) error {
	for {
		var rows int
		if err := o.pool.QueryRow(ctx, "select count(*) from requests").Scan(&rows); err != nil {
			return fmt.Errorf("count the request log: %w", err)
		}
		if rows >= o.sent {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (o *outside) send(ctx context.Context, c *outboundCase, n int, body string) (err error) {
	if c.with != nil {
		if ctx, err = c.with(ctx, n); err != nil {
			return err
		}
	}
	if c.method == http.MethodGet {
		body = ""
	}
	req, err := http.NewRequestWithContext(ctx, c.method, o.url, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := c.client.Do(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, res.Body)
	if res.StatusCode != http.StatusOK {
		err = errors.Join(err, errors.New(res.Status))
	}
	return errors.Join(err, res.Body.Close())
}
