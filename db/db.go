// Package db holds the schema of Tributary's Postgres: migrations, which this package applies, and the queries that
// sqlc turns into internal/postgres/dbsqlc.
package db

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	_ "github.com/jackc/pgx/v5/stdlib" // registers the "pgx" driver that goose speaks through
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// Migrations are the numbered, forward-only steps of the schema, in goose's format.
//
//go:embed migrations/*.sql
var Migrations embed.FS

// Migrate is [MigrateOn] for a database at an address.
func Migrate(ctx context.Context, databaseURL string) (applied int, err error) {
	return onURL(databaseURL, func(pool *sql.DB) (int, error) { return MigrateOn(ctx, pool) })
}

// MigrateOn brings a database up to the newest schema. Any number of processes may call it at once: one applies, under
// an advisory lock of its session, the others wait. A migration that was released under a lower number than one that
// the database has is applied too. It returns the number of steps applied.
func MigrateOn(ctx context.Context, pool *sql.DB) (applied int, err error) {
	steps, err := fs.Sub(Migrations, "migrations")
	if err != nil {
		return 0, fmt.Errorf("read the migrations: %w", err)
	}
	return migrate(ctx, pool, steps)
}

// MigrateFrom is Migrate with other migrations than this version's: tests make databases of earlier versions by it.
func MigrateFrom(ctx context.Context, databaseURL string, steps fs.FS) (applied int, err error) {
	return onURL(databaseURL, func(pool *sql.DB) (int, error) { return migrate(ctx, pool, steps) })
}

func onURL(databaseURL string, migrate func(*sql.DB) (int, error)) (applied int, err error) {
	pool, err := sql.Open("pgx", databaseURL)
	if err != nil {
		return 0, fmt.Errorf("open the database: %w", err)
	}
	defer func() { _ = pool.Close() }()
	return migrate(pool)
}

func migrate(ctx context.Context, pool *sql.DB, steps fs.FS) (applied int, err error) {
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return 0, fmt.Errorf("make the migration lock: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, pool, steps, goose.WithSessionLocker(locker),
		goose.WithAllowOutofOrder(true))
	if err != nil {
		return 0, fmt.Errorf("read the migrations: %w", err)
	}
	results, err := provider.Up(ctx)
	if err != nil {
		return len(results), fmt.Errorf("migrate the database: %w", err)
	}
	return len(results), nil
}

// appliedVersions lists what goose has applied; a database without goose's table is empty.
const (
	hasVersions     = "select to_regclass('goose_db_version') is not null"
	appliedVersions = "select coalesce(array_agg(distinct version_id), '{}') from goose_db_version where is_applied " +
		"and version_id > 0"
)

// Row is one row of an answer, as pgx returns it.
type Row interface{ Scan(values ...any) error }

// State says how a database's schema differs from what this version of the program knows.
type State struct {
	// Missing are the names of the migrations that the database lacks, such as 00031_secret_audit. A service refuses to
	// start while there are any.
	Missing []string
	// Unknown are the numbers of migrations that a newer version has applied. Services of this version go on with them,
	// since migrations of one version keep to what the version before can work with.
	Unknown []int64
}

// Inspect compares a database with the migrations of this version. It changes nothing, and needs no session of its own.
func Inspect(ctx context.Context, queryRow func(ctx context.Context, sql string) Row) (State, error) {
	var there bool
	if err := queryRow(ctx, hasVersions).Scan(&there); err != nil {
		return State{}, fmt.Errorf("read the schema version: %w", err)
	}
	var applied []int64
	if there {
		if err := queryRow(ctx, appliedVersions).Scan(&applied); err != nil {
			return State{}, fmt.Errorf("read the schema version: %w", err)
		}
	}
	files, err := fs.Glob(Migrations, "migrations/*.sql")
	if err != nil {
		return State{}, fmt.Errorf("read the migrations: %w", err)
	}
	var state State
	var known []int64
	for _, file := range files {
		name := strings.TrimSuffix(strings.TrimPrefix(file, "migrations/"), ".sql")
		digits, _, _ := strings.Cut(name, "_")
		number, err := strconv.ParseInt(digits, 10, 64)
		if err != nil {
			return State{}, fmt.Errorf("the migration %s has no number", file)
		}
		known = append(known, number)
		if !slices.Contains(applied, number) {
			state.Missing = append(state.Missing, name)
		}
	}
	for _, number := range applied {
		if !slices.Contains(known, number) {
			state.Unknown = append(state.Unknown, number)
		}
	}
	return state, nil
}
