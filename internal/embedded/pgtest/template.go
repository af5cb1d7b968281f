package pgtest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tributaryhq/tributary/db"
	pgserver "github.com/tributaryhq/tributary/internal/embedded/postgres"
)

// templateLock is the advisory lock that makes test processes build the template one after the other.
const templateLock = 0x7472_6962_7574 // "tribut"

// startWithin leaves room for PostgreSQL to be fetched over a slow line.
const startWithin = 10 * time.Minute

func connect() (*server, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startWithin)
	defer cancel()
	s := &server{maintenance: os.Getenv("DATABASE_URL")}
	if s.maintenance == "" {
		embedded, err := pgserver.Start(ctx, pgserver.Options{})
		if err != nil {
			return nil, err
		}
		s.embedded, s.maintenance = embedded, embedded.URL()
	}
	if err := s.prepare(ctx); err != nil {
		if s.embedded != nil {
			s.embedded.Stop()
		}
		return nil, err
	}
	return s, nil
}

func (s *server) prepare(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, s.maintenance)
	if err != nil {
		return fmt.Errorf("connect to the server that DATABASE_URL names: %w", err)
	}
	defer conn.Close(ctx) // and with it the lock
	if s.strategy, err = copyStrategy(ctx, conn); err != nil {
		return err
	}
	if s.template, err = templateName(); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "select pg_advisory_lock($1)", int64(templateLock)); err != nil {
		return fmt.Errorf("wait for another process to migrate the template: %w", err)
	}
	var there bool
	if err := conn.QueryRow(ctx, "select exists (select from pg_database where datname = $1)", s.template).Scan(&there); err != nil {
		return fmt.Errorf("look for the template: %w", err)
	}
	if there {
		return nil
	}
	return s.buildTemplate(ctx, conn)
}

// buildTemplate migrates under another name and renames, so that a template is whole or not there.
func (s *server) buildTemplate(ctx context.Context, conn *pgx.Conn) error {
	unfinished := s.template + "_new"
	address, err := onDatabase(s.maintenance, unfinished)
	if err != nil {
		return err
	}
	for _, sql := range []string{"drop database if exists " + unfinished + " with (force)", "create database " + unfinished} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return explain("make the template", err)
		}
	}
	if _, err := db.Migrate(ctx, address); err != nil {
		return fmt.Errorf("make the template: %w", err)
	}
	if _, err := conn.Exec(ctx, "alter database "+unfinished+" rename to "+s.template); err != nil {
		return fmt.Errorf("name the template: %w", err)
	}
	return nil
}

// explain says what to do about the one error that a server given by the user is likely to answer with.
func explain(doing string, err error) error {
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == "42501" {
		return fmt.Errorf("each test makes a database of its own, and the user of DATABASE_URL may not; let it with `alter role … createdb`: %w", err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// copyStrategy is the faster way to copy a database there: file by file in memory, through the log elsewhere.
func copyStrategy(ctx context.Context, conn *pgx.Conn) (string, error) {
	var folder string
	err := conn.QueryRow(ctx, "select coalesce((select setting from pg_settings where name = 'data_directory'), '')").Scan(&folder)
	if err != nil {
		return "", fmt.Errorf("ask where the data is: %w", err)
	}
	if strings.HasPrefix(folder, "/dev/shm/") {
		return "file_copy", nil
	}
	return "wal_log", nil
}

// templateName changes with every change of a migration.
func templateName() (string, error) {
	sum := sha256.New()
	err := fs.WalkDir(db.Migrations, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(db.Migrations, path)
		fmt.Fprintf(sum, "%s %d\n%s", path, len(content), content)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("read the migrations: %w", err)
	}
	return fmt.Sprintf("tributary_template_%x", sum.Sum(nil)[:8]), nil
}
