// Package db holds the schema of Tributary's Postgres: migrations, which this package applies, and the queries that sqlc turns into
// internal/postgres/dbsqlc.
package db

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	_ "github.com/jackc/pgx/v5/stdlib" // registers the "pgx" driver that goose speaks through
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// Migrations are the numbered, forward-only steps of the schema, in goose's format.
//
//go:embed migrations/*.sql
var Migrations embed.FS

// Migrate brings the database up to the newest schema. Any number of processes may call it at once: one applies, under a session
// advisory lock, the others wait. It returns the number of steps applied.
func Migrate(ctx context.Context, databaseURL string) (applied int, err error) {
	provider, closeDB, err := newProvider(databaseURL)
	if err != nil {
		return 0, err
	}
	defer closeDB()
	results, err := provider.Up(ctx)
	if err != nil {
		return len(results), fmt.Errorf("migrate the database: %w", err)
	}
	return len(results), nil
}

// Pending tells how many steps the database lacks. A service refuses to start while there are any.
func Pending(ctx context.Context, databaseURL string) (int, error) {
	provider, closeDB, err := newProvider(databaseURL)
	if err != nil {
		return 0, err
	}
	defer closeDB()
	current, target, err := provider.GetVersions(ctx)
	if err != nil {
		return 0, fmt.Errorf("read the schema version: %w", err)
	}
	return int(max(target-current, 0)), nil
}

func newProvider(databaseURL string) (*goose.Provider, func(), error) {
	pool, err := sql.Open("pgx", databaseURL)
	if err != nil {
		return nil, nil, fmt.Errorf("open the database: %w", err)
	}
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		_ = pool.Close()
		return nil, nil, fmt.Errorf("make the migration lock: %w", err)
	}
	steps, err := fs.Sub(Migrations, "migrations")
	if err != nil {
		_ = pool.Close()
		return nil, nil, fmt.Errorf("read the migrations: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, pool, steps, goose.WithSessionLocker(locker))
	if err != nil {
		_ = pool.Close()
		return nil, nil, fmt.Errorf("read the migrations: %w", err)
	}
	return provider, func() { _ = pool.Close() }, nil
}
