package pgtest_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/leak"
)

func TestMain(m *testing.M) {
	os.Exit(leak.Code(pgtest.Main(m)))
}

func TestEveryTestHasAMigratedDatabaseOfItsOwn(t *testing.T) {
	t.Parallel()
	const insert = "insert into oid_probe values (1)"
	for i := range 8 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			pool := pgtest.DB(t)
			var tables int
			if err := pool.QueryRow(t.Context(), "select count(*) from integrations").Scan(&tables); err != nil {
				t.Fatal("not migrated:", err)
			}
			if _, err := pool.Exec(t.Context(), "create table oid_probe (id int primary key)"); err != nil {
				t.Fatal("shared with another test:", err)
			}
			if _, err := pool.Exec(t.Context(), insert); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestDatabaseIsDroppedThoughInUse(t *testing.T) {
	t.Parallel()
	var address string
	t.Run("user", func(t *testing.T) {
		address = pgtest.URL(t)
		conn, err := pgx.Connect(t.Context(), address) // stays open past the end of the test
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	if conn, err := pgx.Connect(t.Context(), address); err == nil {
		_ = conn.Close(t.Context())
		t.Error("the database is still there")
	}
}

func TestUserWhoMayNotMakeDatabasesIsToldSo(t *testing.T) {
	t.Parallel()
	address, err := url.Parse(pgtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), address.String())
	if err != nil {
		t.Fatal(err)
	}
	role := strings.TrimPrefix(address.Path, "/") // as unique as the database
	if _, err := conn.Exec(t.Context(), "create role "+role+" login password 'x'"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = conn.Exec(context.Background(), "drop role "+role)
		_ = conn.Close(context.Background())
	})
	address.User = url.UserPassword(role, "x")
	tests := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestEveryTest")
	tests.Env = append(os.Environ(), "DATABASE_URL="+address.String())
	output, err := tests.CombinedOutput()
	if err == nil || !strings.Contains(string(output), "createdb") {
		t.Errorf("got %v:\n%s", err, output)
	}
}
