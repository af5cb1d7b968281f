package main

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributaryhq/tributary"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
)

// TestRefusedConnections runs Tributary on a connection that the program has made in its own way, on such a pool, and
// on a database that lacks migrations. It refuses each, and says what to do.
func TestRefusedConnections(t *testing.T) {
	logger := slog.New(slog.DiscardHandler)
	server := natstest.New(t)
	good := server.Connect(tributary.NATSOptions(logger)...)
	prepared := func(address string) *pgxpool.Pool {
		pool, err := openPool(t.Context(), address, logger)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(pool.Close)
		return pool
	}
	behind := prepared(pgtest.URL(t))
	if _, err := behind.Exec(t.Context(), "delete from goose_db_version where version_id = 1"); err != nil {
		t.Fatal(err)
	}
	keys, err := tributary.ParseKeys(t.Context(), keyRing, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		what, want, advice string
		pool               *pgxpool.Pool
		nc                 *nats.Conn
	}{
		{
			"a plain connection to NATS", "nats.MaxReconnects(-1)", "tributary.NATSOptions", prepared(pgtest.URL(t)),
			server.Connect(),
		},
		{"a plain pool", "lacks settings", "tributary.PreparePool", pgtest.DB(t), good},
		{"a database that is behind", "lacks 00001_integrations", "tributary.Migrate", behind, good},
	} {
		runtime, err := (&books{pool: tt.pool}).runtime(tt.nc, keys, logger, prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		err = runtime.Run(ctx)
		cancel()
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), tt.advice) {
			t.Errorf("%s: %v, want %q and %q", tt.what, err, tt.want, tt.advice)
		}
	}
	if err := tributary.CheckMigrations(t.Context(), behind); err == nil ||
		!strings.Contains(err.Error(), "00001_integrations") {
		t.Errorf("a database that is behind passes: %v", err)
	}
}
