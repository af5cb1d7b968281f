// Package pgtest gives a test a real, migrated, empty Postgres database of its own.
//
// The server is the one that DATABASE_URL names, whose user needs the CREATEDB right, or else one that the first test of the process
// starts; cmd/testenv starts one for many test processes. A database is a copy of a template that was migrated once, dropped when its
// test has passed: measured, a copy in memory costs about what truncating every table does, and it isolates listeners, advisory
// locks and sequences as well.
package pgtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	pgserver "github.com/tributaryhq/tributary/internal/embedded/postgres"
)

// shared is the server of this test process: one, whichever test asks first.
//
//nolint:gochecknoglobals // tests of a package have no other place to share it
var shared lazyServer

type lazyServer struct {
	once   sync.Once
	server *server
	err    error
}

func (l *lazyServer) get() (*server, error) {
	l.once.Do(func() { l.server, l.err = connect() })
	return l.server, l.err
}

// stop ends the server if a test started one, and keeps one from being started after.
func (l *lazyServer) stop() {
	l.once.Do(func() { l.err = errors.New("asked for after Main stopped it") })
	if l.server != nil && l.server.embedded != nil {
		l.server.embedded.Stop()
	}
}

// server is where databases are made: the address of a maintenance database on it, and the migrated template.
type server struct {
	maintenance string
	template    string
	strategy    string // how to copy the template
	embedded    *pgserver.Server
}

// Main runs a package's tests and then stops the server they may have started; TestMain calls it as `os.Exit(pgtest.Main(m))`. It is
// for packages that look for leaked goroutines afterwards: without it the server ends with the process.
func Main(m *testing.M) int {
	code := m.Run()
	shared.stop()
	return code
}

// DB is a pool on a new database, closed when the test ends. Inside a synctest bubble call URL outside first, and make the pool
// inside.
func DB(t testing.TB) *pgxpool.Pool {
	t.Helper()
	address := URL(t)
	pool, err := pgxpool.New(context.Background(), address)
	if err != nil {
		t.Fatalf("pgtest: connect: %v", err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// URL is the address of a new database, for tests that start processes or make their own pool.
func URL(t testing.TB) string {
	t.Helper()
	s, err := shared.get()
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	name := "tributary_test_" + strings.ToLower(rand.Text()[:16])
	create := fmt.Sprintf("create database %s template %s strategy %s", name, s.template, s.strategy)
	if err := s.exec(create); err != nil {
		t.Fatalf("pgtest: %v", explain("make a database", err))
	}
	t.Cleanup(func() { s.drop(t, name) })
	address, err := onDatabase(s.maintenance, name)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	return address
}

// drop removes the database, clients and all. That of a failed test stays on a server that outlives the run, to be looked at.
func (s *server) drop(t testing.TB, name string) {
	t.Helper()
	if t.Failed() && s.embedded == nil && os.Getenv("DATABASE_EPHEMERAL") == "" {
		t.Logf("pgtest: the database %s is kept for you to look at", name)
		return
	}
	const inUse = "55006" // by clients that were told to go, and have not yet been given the time for it
	err := s.exec("drop database " + name + " with (force)")
	for deadline := time.Now().Add(time.Minute); isCode(err, inUse) && time.Now().Before(deadline); {
		err = s.exec("drop database " + name + " with (force)")
	}
	if err != nil {
		t.Errorf("pgtest: drop the database: %v", err)
	}
}

func isCode(err error, code string) bool {
	refused, ok := errors.AsType[*pgconn.PgError](err)
	return ok && refused.Code == code
}

// exec runs one statement on a connection of its own, since databases are neither made nor dropped in a transaction.
func (s *server) exec(sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.maintenance)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	return err
}

// onDatabase is the address with another database in it.
func onDatabase(address, name string) (string, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme == "" {
		return "", errors.New("DATABASE_URL must be of the form postgres://user@host/database") // the cause would show the password
	}
	u.Path = "/" + name
	return u.String(), nil
}
