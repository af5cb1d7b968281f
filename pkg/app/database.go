package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/exaring/otelpgx"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.opentelemetry.io/otel/trace"

	"github.com/tributaryhq/tributary/db"
	"github.com/tributaryhq/tributary/internal/postgres"
)

// errDatabaseURL stands for the driver's error, which quotes the URL and with it perhaps a password.
var errDatabaseURL = errors.New("the database URL can't be read; it looks like postgres://user:password@localhost:5432/tributary")

// openPostgres connects to a database that services can work with: its settings are fit for it, and it has all migrations. An empty URL is none.
func (p *program) openPostgres(url string, log *slog.Logger, tracers trace.TracerProvider) (*pgxpool.Pool, postgres.Listening, error) {
	if url == "" {
		return nil, postgres.Listening{}, nil
	}
	pool, pooled, err := p.connectPostgres(p.ctx, url, log, tracers)
	if err != nil {
		return nil, postgres.Listening{}, err
	}
	listening, err := p.listening(pooled, log)
	if err == nil {
		err = checkMigrations(p.ctx, pool, log)
	}
	if err != nil {
		pool.Close()
		return nil, postgres.Listening{}, err
	}
	return pool, listening, nil
}

// connectPostgres connects, and refuses a server whose settings can't work. It tells whether a pooler is between.
func (p *program) connectPostgres(ctx context.Context, url string, log *slog.Logger, tracers trace.TracerProvider) (*pgxpool.Pool, bool, error) {
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
	server, err := postgres.InspectServer(ctx, pool)
	if err == nil {
		err = server.Check()
	}
	if err != nil {
		pool.Close()
		return nil, false, err
	}
	for _, warning := range server.Warnings() {
		log.Warn(warning)
	}
	return pool, pooled, nil
}

// listening is how the services hear of notifications, which do not come through a pooler.
func (p *program) listening(pooled bool, log *slog.Logger) (postgres.Listening, error) {
	if p.config.DatabaseDirectURL == "" {
		if pooled {
			log.Warn("a connection pooler is between this process and Postgres, through which no notifications come: changes are looked for every second instead; " +
				"set TRIBUTARY_DATABASE_DIRECT_URL to an address of Postgres itself")
		}
		return postgres.Listening{Poll: pooled}, nil
	}
	direct, err := pgx.ParseConfig(string(p.config.DatabaseDirectURL))
	if err != nil {
		return postgres.Listening{}, fmt.Errorf("--database-direct-url: %w", errDatabaseURL)
	}
	return postgres.Listening{Direct: direct}, nil
}

// migrate brings the database up to date, on connections that do not pass a pooler: the migrations' lock belongs to a
// session. It waits for Postgres until ready ends, and then for as long as the migrations take.
func (p *program) migrate(ready context.Context, url string, log *slog.Logger) (applied int, err error) {
	if p.config.DatabaseDirectURL != "" {
		url = string(p.config.DatabaseDirectURL)
	}
	pool, pooled, err := p.connectPostgres(ready, url, log, nil)
	if err != nil {
		return 0, err
	}
	pool.Close()
	if pooled {
		return 0, errors.New("a connection pooler is between this process and Postgres, and migrations need a session of their own: " +
			"set TRIBUTARY_DATABASE_DIRECT_URL to an address of Postgres itself")
	}
	return db.Migrate(p.ctx, url)
}

// inspectMigrations compares the database with this version's migrations.
func inspectMigrations(ctx context.Context, pool *pgxpool.Pool) (db.State, error) {
	return db.Inspect(ctx, func(ctx context.Context, sql string) db.Row { return pool.QueryRow(ctx, sql) })
}

func checkMigrations(ctx context.Context, pool *pgxpool.Pool, log *slog.Logger) error {
	state, err := inspectMigrations(ctx, pool)
	if err != nil {
		return err
	}
	if len(state.Unknown) > 0 {
		log.Warn("the database has migrations of a newer version; update this process soon", "migrations", state.Unknown)
	}
	return lacking(state)
}

// lacking is the error for a database that lacks migrations.
func lacking(state db.State) error {
	if len(state.Missing) == 0 {
		return nil
	}
	return fmt.Errorf("the database lacks %s; run: tributary migrate", strings.Join(state.Missing, ", "))
}
