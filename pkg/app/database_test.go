package app_test

import (
	"bytes"
	"context"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/pkg/app"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// runOn runs a command on a database and returns its exit code and what it said.
func runOn(t *testing.T, database string, args ...string) (code int, said string) {
	t.Helper()
	t.Setenv("DATABASE_URL", database)
	var out bytes.Buffer
	code = app.Run(t.Context(), args, app.Streams{In: strings.NewReader(""), Out: &out, Err: &out}, app.Providers{})
	return code, out.String()
}

func execute(t *testing.T, address, sql string) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	if _, err := conn.Exec(context.Background(), sql); err != nil {
		t.Fatal(err)
	}
}

// TestServicesRefuseADatabaseThatCanNotWork starts each service that needs a database on one that lacks a migration,
// and on one whose encoding can't keep every text.
func TestServicesRefuseADatabaseThatCanNotWork(t *testing.T) {
	t.Setenv("TRIBUTARY_KEYS", "test:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
	t.Setenv("TRIBUTARY_NATS_URL", natstest.NewListening(t).URL())
	t.Setenv("TRIBUTARY_HTTP_ADDR", "")
	behind := pgtest.URL(t)
	parsed, err := url.Parse(behind)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(parsed.Path, "/") + "_ascii"
	execute(t, behind, "create database "+name+" encoding 'SQL_ASCII' lc_collate 'C' lc_ctype 'C' template template0")
	t.Cleanup(func() { execute(t, behind, "drop database "+name+" with (force)") })
	ascii := *parsed
	ascii.Path = "/" + name
	execute(t, behind, "delete from goose_db_version where version_id = (select max(version_id) from goose_db_version)")

	services := []string{"scheduler", "syncer", "item-worker", "token-refresher"}
	for _, service := range services {
		if code, said := runOn(t, behind, service); code != 1 || !strings.Contains(said, "the database lacks 000") || !strings.Contains(said, "run: tributary migrate") {
			t.Errorf("%s on a database that lacks a migration: exit %d, %s", service, code, said)
		}
	}
	for _, command := range append(services, "migrate") {
		if code, said := runOn(t, ascii.String(), command); code != 1 || !strings.Contains(said, "has the encoding SQL_ASCII") {
			t.Errorf("%s on a database in SQL_ASCII: exit %d, %s", command, code, said)
		}
	}
}

// TestMigrate brings an empty database up to date, and then has nothing to do.
func TestMigrate(t *testing.T) {
	template := pgtest.URL(t)
	parsed, err := url.Parse(template)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(parsed.Path, "/") + "_empty"
	execute(t, template, "create database "+name+" template template0")
	t.Cleanup(func() { execute(t, template, "drop database "+name+" with (force)") })
	parsed.Path = "/" + name
	for _, want := range []string{" migrations applied, the database is up to date", "0 migrations applied, the database is up to date"} {
		if code, said := runOn(t, parsed.String(), "migrate"); code != 0 || !strings.Contains(said, want) {
			t.Errorf("migrate: exit %d, %s, want %q", code, said, want)
		}
	}
}
