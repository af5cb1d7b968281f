package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/acme"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tributaryhq/tributary"
	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/leak"
)

// patience ends a test that would hang; nothing is expected to take that long.
const patience = time.Minute

func TestMain(m *testing.M) { os.Exit(leak.Code(pgtest.Main(m))) }

func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); <-time.After(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for %s", patience, what)
		}
	}
}

// newShop is an upstream with some orders. Those with a price below zero are refused by the program.
func newShop(t *testing.T, cents ...int64) *httptest.Server {
	t.Helper()
	shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		after, _ := strconv.Atoi(r.URL.Query().Get("after"))
		orders := []acme.Order{}
		for i, c := range cents[min(after, len(cents)):] {
			revision := after + i + 1
			orders = append(orders, acme.Order{
				ID: "order-" + strconv.Itoa(revision), Cents: c,
				Revision: int64(revision),
			})
		}
		_ = json.NewEncoder(w).Encode(orders)
	}))
	t.Cleanup(shop.Close)
	return shop
}

const keyRing = "test:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="

// start runs Tributary until stop is called, which returns what Run has returned.
func start(t *testing.T, runtime *tributary.Runtime) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- runtime.Run(ctx) }()
	t.Cleanup(cancel)
	select {
	case <-runtime.Started():
	case err := <-ended:
		t.Fatalf("it has ended: %v", err)
	}
	return func() error { cancel(); return <-ended }
}

func createShop(t *testing.T, client *api.Client, url string) {
	t.Helper()
	_, err := client.CreateIntegration(t.Context(), api.CreateIntegration{
		Provider: "acme", Name: "shop", Metadata: json.RawMessage(`{"url":"` + url + `"}`),
		Credentials: json.RawMessage(`{"key":"a-key-of-the-shop"}`),
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestTributaryInAProgram runs Tributary on a pool, a connection and metrics of a program, twice. Orders get into the
// program's table through its middleware, in a transaction of its pool. After each stop all is the program's alone.
func TestTributaryInAProgram(t *testing.T) {
	shop := newShop(t, 100, 250, -1)
	logger := slog.New(slog.DiscardHandler)
	pool, err := openPool(t.Context(), pgtest.URL(t), logger)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	nc := natstest.New(t).Connect(tributary.NATSOptions(logger, nats.Name("books"))...)
	b, err := newBooks(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := tributary.ParseKeys(t.Context(), keyRing, nil)
	if err != nil {
		t.Fatal(err)
	}
	metrics := prometheus.NewPedanticRegistry()
	client := api.New(nc, patience)
	if _, err := client.Runs(t.Context(), api.ListRuns{}); api.CodeOf(err) != api.Unavailable {
		t.Fatalf("before it has started: %v", err)
	}
	subscriptions := nc.NumSubscriptions()
	for round, want := range []int64{350, 350} {
		runtime, err := b.runtime(nc, keys, logger, metrics)
		if err != nil {
			t.Fatal(err)
		}
		stop := start(t, runtime)
		await(t, "a scheduler that answers", func() bool {
			_, err := client.Runs(t.Context(), api.ListRuns{})
			return api.CodeOf(err) != api.Unavailable
		})
		if round == 0 {
			createShop(t, client, shop.URL)
		}
		await(t, "the sync", func() bool {
			page, err := client.Runs(t.Context(), api.ListRuns{Integration: "shop"})
			if err != nil {
				t.Fatal(err)
			}
			return len(page.Runs) == 1 && page.Runs[0].ClosedAt != nil
		})
		if got, err := b.total(t.Context()); err != nil || got != want {
			t.Errorf("round %d: the books say %d, %v, want %d", round, got, err, want)
		}
		await(t, "readiness", func() bool {
			for _, check := range runtime.Readiness() {
				if check.Err != nil {
					return false
				}
			}
			return true
		})
		if err := stop(); err != nil {
			t.Errorf("round %d: Run returns %v", round, err)
		}
		if err := runtime.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "tributary.New") {
			t.Errorf("a runtime runs a second time: %v", err)
		}
		await(t, "the pool's connections", func() bool { return pool.Stat().AcquiredConns() == 0 })
		await(t, "the connection's subscriptions", func() bool { return nc.NumSubscriptions() == subscriptions })
		if err := nc.FlushTimeout(patience); err != nil || nc.IsClosed() {
			t.Errorf("round %d: the connection to NATS: %v", round, err)
		}
	}
	// The dead order was measured too.
	gathered, err := metrics.Gather()
	if err != nil || len(gathered) != 1 || gathered[0].GetName() != "books_item_seconds" {
		t.Errorf("the metrics that are left are %v, %v, want the program's alone", gathered, err)
	}
	if n := gathered[0].GetMetric()[0].GetHistogram().GetSampleCount(); n != 3 {
		t.Errorf("%d items were measured, want 3", n)
	}
	if problems, err := testutil.GatherAndLint(metrics); err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v, %v", problems, err)
	}
}

// TestServe runs the program with its flags' values.
func TestServe(t *testing.T) {
	broker := natstest.NewListening(t)
	keys := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(keys, []byte(keyRing), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := "127.0.0.1:" + strconv.Itoa(natstest.FreePort(t))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	database := pgtest.URL(t)
	go func() { ended <- serve(ctx, database, broker.URL(), keys, addr, slog.New(slog.DiscardHandler)) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	get := func(path string) string {
		res, err := client.Get("http://" + addr + path)
		if err != nil {
			return ""
		}
		defer func() { _ = res.Body.Close() }()
		body, _ := io.ReadAll(res.Body)
		return string(body)
	}
	await(t, "readiness", func() bool { return get("/readyz") == "ready\n" })
	if got := get("/total"); got != "0\n" {
		t.Errorf("the total is %q", got)
	}
	if got := get("/metrics"); !strings.Contains(got, "tributary_ready") {
		t.Errorf("Tributary's metrics are not among the program's: %.200s", got)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
