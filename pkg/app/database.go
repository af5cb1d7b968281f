package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/exaring/otelpgx"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.opentelemetry.io/otel/trace"

	"github.com/tributaryhq/tributary"
	"github.com/tributaryhq/tributary/internal/postgres"
)

// errDatabaseURL stands for the driver's error, which quotes the URL and with it perhaps a password.
var errDatabaseURL = errors.New("the database URL can't be read; it looks like " +
	"postgres://user:password@localhost:5432/tributary")

// connectPostgres connects, in a way that suits a pooler if one is between, and tells whether there is.
func (p *program) connectPostgres(ctx context.Context, url string, log *slog.Logger, tracers trace.TracerProvider) (
	*pgxpool.Pool, bool, error,
) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, false, errDatabaseURL
	}
	config.MaxConns = int32(p.config.Connections)
	if p.config.OTLPEndpoint != "" {
		config.ConnConfig.Tracer = otelpgx.NewTracer(otelpgx.WithTracerProvider(tracers))
	}
	pool, err := postgres.Connect(ctx, config.Copy(), log)
	if err != nil {
		return nil, false, err
	}
	pooled, err := postgres.Pooled(ctx, pool)
	if err == nil && pooled {
		pool.Close()
		postgres.SuitPooler(config)
		pool, err = postgres.Connect(ctx, config, log)
	}
	if err != nil {
		return nil, false, err
	}
	return pool, pooled, nil
}

// direct leads to Postgres itself where a pooler is between, or is nil.
func (c *Config) direct() (*pgx.ConnConfig, error) {
	if c.DatabaseDirectURL == "" {
		return nil, nil
	}
	direct, err := pgx.ParseConfig(string(c.DatabaseDirectURL))
	if err != nil {
		return nil, fmt.Errorf("--database-direct-url: %w", errDatabaseURL)
	}
	return direct, nil
}

// migrate brings the database up to date, on connections that do not pass a pooler. It waits for Postgres until ready
// ends, and then for as long as the migrations take.
func (p *program) migrate(ready context.Context, url string, log *slog.Logger) (applied int, err error) {
	if p.config.DatabaseDirectURL != "" {
		url = string(p.config.DatabaseDirectURL)
	}
	pool, _, err := p.connectPostgres(ready, url, log, nil)
	if err != nil {
		return 0, err
	}
	defer pool.Close()
	return tributary.Migrate(p.ctx, pool, log)
}
