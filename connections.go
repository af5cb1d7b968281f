package tributary

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/nats-io/nats.go"

	"github.com/tributaryhq/tributary/db"
	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/secret"
)

// PreparePool adds to a configuration what the services need of their pool, so that the program's queries and theirs
// may share it. Call it last, just before [pgxpool.NewWithConfig].
//
// A connection on which the server is silent is given up, ids are sent in binary, the encoding is UTF-8, and a commit
// whose wait for a synchronous standby was cancelled is noticed. Hooks and tracers that the configuration has are kept.
func PreparePool(config *pgxpool.Config, logger *slog.Logger) { postgres.Prepare(config, logger) }

// NATSOptions are the options of a connection that the services can share with the program: its own, and what they
// leave open. The connection comes back whenever it is lost, keeps nothing for a server that is away, notices within 30
// s that a server is silent, and survives a lowered max_payload.
func NATSOptions(logger *slog.Logger, own ...nats.Option) []nats.Option {
	return bus.ConnOptions(logger, own...)
}

// Keys are a key ring, which encrypts credentials.
type Keys = secret.Ring

// KMS decrypts the keys of a ring that are stored encrypted, as "<id>:kms:<base64>".
type KMS = secret.KMS

// ParseKeys reads a key ring such as "2026-11.v2:<base64 of 32 bytes>". Of several keys, separated by commas, the first
// encrypts and all decrypt. kms may be nil.
func ParseKeys(ctx context.Context, ring string, kms KMS) (*Keys, error) {
	return secret.ParseWrapped(ctx, ring, kms)
}

// LoadKeys reads a key ring from a file, and again whenever the file has changed. kms may be nil.
func LoadKeys(ctx context.Context, path string, kms KMS, logger *slog.Logger) (*Keys, error) {
	return secret.Load(ctx, path, kms, logger)
}

// checkPool checks that services can work with a pool, and tells whether a pooler is between.
func checkPool(ctx context.Context, pool *pgxpool.Pool, logger *slog.Logger) (pooled bool, err error) {
	pooled, err = postgres.Check(ctx, pool, logger)
	if errors.Is(err, postgres.ErrUnprepared) {
		err = fmt.Errorf("%w: call tributary.PreparePool(config, logger) last, just before pgxpool.NewWithConfig", err)
	}
	return pooled, err
}

// Migrate brings the database of a pool up to date, and returns how many migrations it has applied. Any number of
// processes may call it at once. The pool must be prepared, and lead to Postgres without a pooler between: the lock of
// migrations belongs to a session.
func Migrate(ctx context.Context, pool *pgxpool.Pool, logger *slog.Logger) (applied int, err error) {
	pooled, err := checkPool(ctx, pool, logger)
	if err != nil {
		return 0, err
	}
	if pooled {
		return 0,
			errors.New("a connection pooler is between this process and Postgres, and migrations need a session of " +
				"their own: " +
				"set TRIBUTARY_DATABASE_DIRECT_URL, or pass a pool with an address of Postgres itself")
	}
	connections := stdlib.OpenDBFromPool(pool)
	defer func() { _ = connections.Close() }()
	return db.MigrateOn(ctx, connections)
}

// CheckMigrations returns an error that names the migrations which a database lacks.
func CheckMigrations(ctx context.Context, pool *pgxpool.Pool) error {
	return checkMigrations(ctx, pool, slog.New(slog.DiscardHandler))
}

func checkMigrations(ctx context.Context, pool *pgxpool.Pool, logger *slog.Logger) error {
	state, err := db.Inspect(ctx, func(ctx context.Context, sql string) db.Row { return pool.QueryRow(ctx, sql) })
	if err != nil {
		return err
	}
	if len(state.Unknown) > 0 {
		logger.Warn("the database has migrations of a newer version; update this process soon", "migrations",
			state.Unknown)
	}
	if len(state.Missing) == 0 {
		return nil
	}
	return fmt.Errorf("the database lacks %s; run: tributary migrate, or call tributary.Migrate",
		strings.Join(state.Missing, ", "))
}
