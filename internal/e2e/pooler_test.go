package e2e_test

import (
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/pkg/events"
)

// pooler starts a PgBouncer in transaction mode before a database, with fewer connections to it than the services have to the pooler, and returns its
// address.
func pooler(t *testing.T, database string) string {
	t.Helper()
	binary, err := exec.LookPath("pgbouncer")
	if err != nil {
		if binary = "/usr/sbin/pgbouncer"; os.Getenv("CI") != "" {
			t.Fatal("PgBouncer is not installed: apt-get install pgbouncer")
		}
		if _, err := os.Stat(binary); err != nil {
			t.Skip("PgBouncer is not installed, so that nothing is tested through it: apt-get install pgbouncer")
		}
	}
	address, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	port := natstest.FreePort(t)
	folder := t.TempDir()
	password, _ := address.User.Password()
	users := fmt.Sprintf("%q %q\n", address.User.Username(), password)
	config := fmt.Sprintf(`[databases]
%s = host=%s port=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = plain
auth_file = %s/users
pool_mode = transaction
default_pool_size = 5
max_client_conn = 500
`, strings.TrimPrefix(address.Path, "/"), address.Hostname(), address.Port(), port, folder)
	for name, content := range map[string]string{"users": users, "pgbouncer.ini": config} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o644); err != nil { //nolint:gosec // another user reads it
			t.Fatal(err)
		}
	}
	if err := os.Chmod(folder, 0o755); err != nil { //nolint:gosec // another user reads it
		t.Fatal(err)
	}
	output := &lockedBuffer{}
	command := exec.Command(binary, "-q", filepath.Join(folder, "pgbouncer.ini"))
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() == 0 {
		command.SysProcAttr.Credential = &syscall.Credential{Uid: 65534, Gid: 65534} // it refuses to run as root
		for folder := folder; folder != os.TempDir() && folder != "/"; folder = filepath.Dir(folder) {
			_ = os.Chmod(folder, 0o755) //nolint:gosec // the other user has to reach the file
		}
	}
	command.Stdout, command.Stderr = output, output
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = command.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = command.Process.Kill()
		<-ended
		if t.Failed() {
			t.Log(output.tail())
		}
	})
	address.Host = fmt.Sprintf("127.0.0.1:%d", port)
	for {
		conn, err := pgx.Connect(t.Context(), address.String())
		if err == nil {
			_ = conn.Close(t.Context())
			return address.String()
		}
		select {
		case <-ended:
			t.Fatal("PgBouncer ended: ", output.tail())
		case <-t.Context().Done():
			t.Fatal(err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Everything works through a pooler that gives each transaction another connection, with and without an address past it.
func TestThroughAPooler(t *testing.T) {
	for name, direct := range map[string]bool{"with a direct address": true, "without one": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			pooled := pooler(t, w.database)
			w.env = []string{"DATABASE_URL=" + pooled}
			if direct {
				w.env = append(w.env, "TRIBUTARY_DATABASE_DIRECT_URL="+w.database)
			}
			w.fill(300)
			services := []*process{w.start("scheduler"), w.start("syncer"), w.start("item-worker"), w.start("item-worker"), w.start("token-refresher")}
			for _, service := range services {
				w.await(service.name+" to run", func() bool { return strings.Contains(service.output.tail(), "msg=running") })
			}
			id := w.create("one", "feed")
			w.wantRun(w.awaitClosed(id, 1), "succeeded", 300, 0)
			w.wantCursor(id, "300")
			// A change of the integration reaches the services.
			w.put("r7", "edited")
			w.command(events.VerbSync, "one", "")
			w.await("the second run", func() bool { return w.cursor(id) == "301" })
			for _, service := range services {
				output := service.output.tail()
				if strings.Contains(output, "prepared statement") {
					t.Errorf("%s: %s", service.name, output)
				}
				if warned := strings.Contains(output, "TRIBUTARY_DATABASE_DIRECT_URL"); warned == direct && len(output) < 2000 {
					t.Errorf("%s warned: %t, direct address: %t", service.name, warned, direct)
				}
			}
			migrate := w.start("migrate")
			<-migrate.ended
			if output := migrate.output.tail(); strings.Contains(output, "up to date") != direct {
				t.Errorf("migrate says %q, direct address: %t", output, direct)
			}
		})
	}
}

// TestPoolThatKeepsStatements checks a program's pool through a pooler. One that keeps prepared statements is refused.
func TestPoolThatKeepsStatements(t *testing.T) {
	address := pooler(t, pgtest.URL(t))
	for mode, want := range map[pgx.QueryExecMode]string{
		pgx.QueryExecModeCacheStatement: "pgx.QueryExecModeCacheDescribe",
		pgx.QueryExecModeCacheDescribe:  "",
	} {
		config, err := pgxpool.ParseConfig(address)
		if err != nil {
			t.Fatal(err)
		}
		config.MaxConns, config.ConnConfig.DefaultQueryExecMode = 5, mode
		log := slog.New(slog.DiscardHandler)
		postgres.Prepare(config, log)
		pool, err := pgxpool.NewWithConfig(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		pooled, err := postgres.Check(t.Context(), pool, log)
		pool.Close()
		if !pooled || want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, a pooler is between: %t", mode, err, pooled)
		}
	}
}
