package postgres_test

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/postgres"
)

func checkServer(t *testing.T, address string) (*postgres.Server, error) {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	server, err := postgres.InspectServer(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	return server, server.Check()
}

func execute(t *testing.T, address, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

func TestSettingsThatCanNotWorkAreRefused(t *testing.T) {
	t.Parallel()
	for setting, value := range map[string]string{
		"": "", "default_transaction_read_only": "on", "standard_conforming_strings": "off", "default_transaction_isolation": "serializable", "session_replication_role": "replica",
	} {
		t.Run(setting, func(t *testing.T) {
			t.Parallel()
			address := pgtest.URL(t)
			parsed, err := url.Parse(address)
			if err != nil {
				t.Fatal(err)
			}
			name := strings.TrimPrefix(parsed.Path, "/")
			if setting != "" {
				execute(t, address, "alter database "+name+" set "+setting+" to "+value)
			}
			_, err = checkServer(t, address)
			switch {
			case setting == "" && err != nil:
				t.Errorf("refused: %v", err)
			case setting != "" && (err == nil || !strings.Contains(err.Error(), `alter database "`+name+`" reset `+setting)):
				t.Errorf("got %v, want an error that says how to reset %s", err, setting)
			}
		})
	}
}

func TestEncodingsThatCanNotKeepEveryTextAreRefused(t *testing.T) {
	t.Parallel()
	address := pgtest.URL(t)
	parsed, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	for _, encoding := range []string{"SQL_ASCII", "LATIN1"} {
		name := strings.TrimPrefix(parsed.Path, "/") + "_" + strings.ToLower(encoding)
		execute(t, address, "create database "+name+" encoding '"+encoding+"' lc_collate 'C' lc_ctype 'C' template template0")
		t.Cleanup(func() {
			conn, err := pgx.Connect(context.Background(), address)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = conn.Close(context.Background()) }()
			_, _ = conn.Exec(context.Background(), "drop database "+name+" with (force)")
		})
		other := *parsed
		other.Path = "/" + name
		if _, err := checkServer(t, other.String()); err == nil || !strings.Contains(err.Error(), encoding) {
			t.Errorf("got %v, want an error that names %s", err, encoding)
		}
	}
}

func TestWarningsOfSettingsThatLoseCommits(t *testing.T) {
	t.Parallel()
	server, err := checkServer(t, pgtest.URL(t)+"&options=-csynchronous_commit%3Doff")
	if err != nil {
		t.Fatal(err)
	}
	if warnings := strings.Join(server.Warnings(), "\n"); !strings.Contains(warnings, "synchronous_commit is off") {
		t.Errorf("the warnings are %q", warnings)
	}
}
