// Package postgres is the only package that talks to SQL. It wraps the generated queries (dbsqlc) in a store with
// transactions, an outbox and sealed credentials; the services compose their transactions of it.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/secret"
)

const connectEvery = time.Second

// answerWithin is how long a server may be silent before [Connect] says that it waits, and before a connection that
// listens is made anew.
const answerWithin = 10 * time.Second

// The rows that services work with.
type (
	// Integration is one connection to a third party, with its schedule and its cursor.
	Integration = dbsqlc.Integration
	// Run is one sync of an integration, with the attempts it takes.
	Run = dbsqlc.SyncRun
	// DeadItem is an item that is tried no more, until somebody retries or skips it.
	DeadItem = dbsqlc.DeadItem
	// Grant is what is known of an integration's OAuth tokens.
	Grant = dbsqlc.OauthGrant
	// Webhook is a delivery of an upstream's, and what became of it.
	Webhook = dbsqlc.Webhook
)

// Store is the database: every query, outside of a transaction, and InTx for those that belong together.
type Store struct {
	*dbsqlc.Queries
	pool *pgxpool.Pool
	ring *secret.Ring
	// Accepts returns an error for a message that the broker would refuse; nil checks nothing. It is set before the
	// store is used.
	Accepts func(Outgoing) error
	// listening is how notifications arrive, and hearing how it is noticed that they don't.
	listening Listening
	hearing   hearing
	// accepts are the questions of RunAccepts.
	accepts shared[uuid.UUID, *dbsqlc.RunAcceptsRow]
	// probe is whether the database takes writes.
	probe probe
}

// Tx is a transaction: every query within it.
type Tx struct {
	*dbsqlc.Queries
	accepts func(Outgoing) error
}

// Connect prepares a configuration, opens a pool of it and waits for the database, as [Await] does.
func Connect(ctx context.Context, config *pgxpool.Config, log *slog.Logger) (*pgxpool.Pool, error) {
	return connect(ctx, config, log, usualPatience())
}

func connect(ctx context.Context, config *pgxpool.Config, log *slog.Logger, patience patience) (*pgxpool.Pool, error) {
	bounds := prepare(config, log, patience)
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	bounds.pool.Store(pool)
	if err := Await(ctx, pool, log); err != nil {
		pool.Close()
		return nil, err
	}
	return pool, nil
}

// Await waits until the database answers. One that can't be reached is logged once and tried again until ctx ends.
// Wrong passwords and missing databases are returned at once.
func Await(ctx context.Context, pool *pgxpool.Pool, log *slog.Logger) error {
	server := pool.Config().ConnConfig
	for waiting := false; ; waiting = true {
		err := answers(ctx, pool)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil && !Unavailable(err) && !errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("connect to Postgres at %s:%d: %w", server.Host, server.Port, err)
		}
		if !waiting && ctx.Err() == nil {
			log.Warn("waiting for Postgres, which does not answer", "host", server.Host, "port", server.Port, "error",
				err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("connect to Postgres: %w", ctx.Err())
		case <-time.After(connectEvery):
		}
	}
}

// answers fails within answerWithin where a server's silence would take minutes.
func answers(ctx context.Context, pool *pgxpool.Pool) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	return pool.Ping(ctx)
}

// New makes a store of a pool, which stays the caller's to close. ring may be nil where no credentials are touched.
func New(pool *pgxpool.Pool, ring *secret.Ring) *Store {
	s := &Store{Queries: dbsqlc.New(door{filtering{pool}}), pool: pool, ring: ring}
	s.accepts.rest = acceptsRest
	s.hearing = hearing{every: hearEvery, within: answerWithin}
	s.probe.turn = make(chan struct{}, 1)
	return s
}

// InTx runs fn in a transaction, which commits if fn returns nil. After an error of the commit itself, such as
// [ErrUnreplicated], it may have committed.
func (s *Store) InTx(ctx context.Context, fn func(tx *Tx) error) error {
	err := s.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		return replicated(conn, func() error {
			return pgx.BeginTxFunc(ctx, conn, beginning(ctx), func(tx pgx.Tx) error {
				return fn(&Tx{Queries: dbsqlc.New(door{filtering{tx}}), accepts: s.Accepts})
			})
		})
	})
	if Locked(err) {
		return fmt.Errorf("another transaction holds a lock that is needed: %w", err)
	}
	return err
}

// IntegrationNamed finds an integration by its id or its name.
func (s *Store) IntegrationNamed(ctx context.Context, name string) (*Integration, error) {
	if id, err := uuid.Parse(name); err == nil {
		return s.IntegrationGet(ctx, id)
	}
	return s.IntegrationGetByName(ctx, name)
}

// NotFound reports whether a query for one row found none.
func NotFound(err error) bool { return errors.Is(err, pgx.ErrNoRows) }

// Unavailable reports whether an error says that the database can't be reached or is not up to working now, so that
// trying again later may help.
func Unavailable(err error) bool {
	if server, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch server.Code {
		// shutting down, crashed, starting up, too many connections, disk full, read-only after a failover, ended
		// because it was idle
		case "57P01", "57P02", "57P03", "53300", "53100", "53200", "25006", "25P03", "57P05":
			return true
		}
		// 08: connection exceptions; 40: serialization failure and deadlock, which a second try resolves
		return len(server.Code) == 5 && (server.Code[:2] == "08" || server.Code[:2] == "40")
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok || errors.Is(err, ErrUnreplicated) {
		return true
	}
	return err != nil && !errors.Is(err, pgx.ErrNoRows) && !errors.Is(err, context.Canceled) &&
		pgconn.SafeToRetry(err) ||
		isNetwork(err)
}

// Locked reports whether an error says that a lock of another transaction was waited for in vain, for as long as the
// transaction's bound.
func Locked(err error) bool {
	server, ok := errors.AsType[*pgconn.PgError](err)
	return ok && server.Code == "55P03"
}

// TimedOut reports whether an error says that Postgres has given a statement up that may well be done later: the
// statement or its wait for a lock has taken too long, or an operator has cancelled it. The database is there, and
// other statements may go on.
func TimedOut(err error) bool {
	server, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (server.Code == "57014" || server.Code == "55P03")
}

// Within bounds a step. One that takes too long has failed: its error does not say that the database is away, though it
// came from there.
func Within(ctx context.Context, limit time.Duration, step func(context.Context) error) error {
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := step(bounded)
	if err != nil && bounded.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("not done within %s: %s", limit, foreign.Of(err))
	}
	return err
}

// NewID makes a UUIDv7: ids sort by the time they were made.
func NewID() uuid.UUID { return uuid.Must(uuid.NewV7()) }
