package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tributaryhq/tributary/db"
	embeddednats "github.com/tributaryhq/tributary/internal/embedded/nats"
	embeddedpostgres "github.com/tributaryhq/tributary/internal/embedded/postgres"
	"github.com/tributaryhq/tributary/internal/postgres"
)

// connections is the product's own default.
const connections = 20

// servers are the NATS and the Postgres that everything is measured on.
type servers struct {
	nats     *embeddednats.Server
	postgres *embeddedpostgres.Server
	pool     *pgxpool.Pool
	database processTree
	dir      string
	durable  bool
}

func startServers(ctx context.Context, durable bool) (s *servers, err error) {
	s = &servers{durable: durable}
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	if s.dir, err = os.MkdirTemp("", "tributary-bench-"); err != nil {
		return s, fmt.Errorf("make a folder: %w", err)
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if s.nats, err = embeddednats.Start(embeddednats.Options{Dir: s.dir, Port: embeddednats.RandomPort, Log: log, SyncAlways: durable}); err != nil {
		return s, err
	}
	if s.postgres, err = embeddedpostgres.Start(ctx, embeddedpostgres.Options{Durable: durable, Log: log}); err != nil {
		return s, err
	}
	if _, err = db.Migrate(ctx, s.postgres.URL()); err != nil {
		return s, err
	}
	config, err := pgxpool.ParseConfig(s.postgres.URL())
	if err != nil {
		return s, fmt.Errorf("read the address of Postgres: %w", err)
	}
	config.MaxConns = connections
	if s.pool, err = postgres.Connect(ctx, config, log); err != nil {
		return s, err
	}
	var backend int
	if err = s.pool.QueryRow(ctx, "select pg_backend_pid()").Scan(&backend); err != nil {
		return s, fmt.Errorf("ask for the process of Postgres: %w", err)
	}
	s.database = processTree{root: parentOf(backend)}
	return s, nil
}

func (s *servers) stop() {
	if s.pool != nil {
		s.pool.Close()
	}
	if s.postgres != nil {
		s.postgres.Stop()
	}
	if s.nats != nil {
		s.nats.Stop()
	}
	_ = os.RemoveAll(s.dir)
}

// keys is the file with the key ring.
func (s *servers) keys() string { return filepath.Join(s.dir, "keys") }

// describe says what was measured, on what.
func (s *servers) describe(ctx context.Context) string {
	var version string
	if err := s.pool.QueryRow(ctx, "show server_version").Scan(&version); err != nil {
		version = "?"
	}
	writes := "without waiting for the disk (an acknowledgement survives the death of a process, not a power cut)"
	if s.durable {
		writes = "to disk before they answer (`-durable`)"
	}
	return fmt.Sprintf("%d cores (%s), %s, nats-server %s (embedded), PostgreSQL %s, River %s; NATS and Postgres write %s.",
		runtime.NumCPU(), processorName(), runtime.Version(), moduleVersion("github.com/nats-io/nats-server/v2"), version,
		moduleVersion("github.com/riverqueue/river"), writes)
}

func moduleVersion(path string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "?"
	}
	for _, module := range info.Deps {
		if module.Path == path {
			return module.Version
		}
	}
	return "?"
}
