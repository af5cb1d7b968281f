package pgserver_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tributaryhq/tributary/internal/embedded/dirlock"
	pgserver "github.com/tributaryhq/tributary/internal/embedded/postgres"
	"github.com/tributaryhq/tributary/internal/leak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("PGSERVER_TEST_CHILD"); dir != "" {
		childThatNeverStops(dir)
	}
	leak.Main(m)
}

// folder is a temporary folder that the account PostgreSQL runs as can enter, which t.TempDir is not when root runs the tests.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pgserver-test-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func mustStart(t *testing.T, opts pgserver.Options) *pgserver.Server {
	t.Helper()
	s, err := pgserver.Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

func query[T any](t *testing.T, url, sql string) (result T) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if err := conn.QueryRow(t.Context(), sql).Scan(&result); err != nil {
		t.Fatal(err)
	}
	return result
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(time.Minute); !cond(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

func TestDataOutlivesTheServer(t *testing.T) {
	t.Parallel()
	for _, durable := range []bool{true, false} {
		opts := pgserver.Options{Dir: filepath.Join(folder(t), "postgres"), Durable: durable}
		first := mustStart(t, opts)
		if got := query[string](t, first.URL(), "show fsync"); (got == "on") != durable {
			t.Errorf("durable=%v: fsync is %s", durable, got)
		}
		if got := query[string](t, first.URL(), "select current_setting('server_encoding') || current_setting('timezone')"); got != "UTF8UTC" {
			t.Errorf("encoding and time zone are %s", got)
		}
		query[int](t, first.URL(), "with x as (select pg_advisory_lock(1)) select count(*) from x")
		query[string](t, first.URL(), "select lo_from_bytea(4711, 'kept')::text")
		first.Stop()
		first.Stop()
		if err := first.Err(); err != nil {
			t.Errorf("Err after Stop: %v", err)
		}
		if got := query[string](t, mustStart(t, opts).URL(), "select convert_from(lo_get(4711), 'UTF8')"); got != "kept" {
			t.Errorf("durable=%v: got %q", durable, got)
		}
	}
}

func TestSecondServerInOneFolderIsRefused(t *testing.T) {
	t.Parallel()
	opts := pgserver.Options{Dir: folder(t)}
	mustStart(t, opts)
	if _, err := pgserver.Start(t.Context(), opts); !errors.Is(err, dirlock.ErrHeld) {
		t.Fatalf("got %v, want ErrHeld", err)
	}
}

func TestTemporaryServerLeavesNothing(t *testing.T) {
	t.Parallel()
	s := mustStart(t, pgserver.Options{})
	dir := filepath.Dir(query[string](t, s.URL(), "show data_directory"))
	if _, err := os.Stat(dir); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is still there: %v", err)
	}
}

func TestDeathOfTheServerIsTold(t *testing.T) {
	t.Parallel()
	opts := pgserver.Options{Dir: folder(t), Durable: true}
	s := mustStart(t, opts)
	data := query[string](t, s.URL(), "show data_directory")
	if err := syscall.Kill(postmaster(t, data), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	if s.Err() == nil {
		t.Error("no error after the server died")
	}
	s.Stop()
	query[int](t, mustStart(t, opts).URL(), "select 1") // recovers
}

func TestKilledParentTakesTheServerAlong(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), "PGSERVER_TEST_CHILD="+dir)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 4096)
	n, err := out.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	data := strings.TrimSpace(string(line[:n]))
	pid := postmaster(t, data)
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	eventually(t, "the server has ended", func() bool { return !runs(pid) })
	query[int](t, mustStart(t, pgserver.Options{Dir: dir}).URL(), "select 1")
}

// childThatNeverStops starts a server, prints its data folder and waits to be killed.
func childThatNeverStops(dir string) {
	s, err := pgserver.Start(context.Background(), pgserver.Options{Dir: dir})
	if err != nil {
		panic(err)
	}
	found, err := filepath.Glob(filepath.Join(dir, "pg*", "data"))
	if err != nil || len(found) != 1 {
		panic("no data folder")
	}
	fmt.Fprintln(os.Stdout, found[0])
	<-s.Done()
	os.Exit(1)
}

func TestLeftoverServerIsReplaced(t *testing.T) {
	t.Parallel()
	opts := pgserver.Options{Dir: folder(t)}
	s := mustStart(t, opts)
	data := query[string](t, s.URL(), "show data_directory")
	binary := filepath.Join(s.Installation().BinDir, "postgres")
	s.Stop()

	info, err := os.Stat(data)
	if err != nil {
		t.Fatal(err)
	}
	leftover := exec.CommandContext(t.Context(), binary, "-D", data, "-c", "listen_addresses=", "-c", "unix_socket_directories="+data)
	leftover.Dir = "/"
	if owner := info.Sys().(*syscall.Stat_t); os.Geteuid() == 0 {
		leftover.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}}
	}
	if err := leftover.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = leftover.Wait() }()
	eventually(t, "the leftover is up", func() bool {
		content, _ := os.ReadFile(filepath.Join(data, "postmaster.pid"))
		return strings.Contains(string(content), "ready")
	})
	query[int](t, mustStart(t, opts).URL(), "select 1")
	<-ended
}

func postmaster(t *testing.T, data string) int {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(content), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// runs tells whether a process runs; one that is dead but not reaped does not.
func runs(pid int) bool {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		return syscall.Kill(pid, 0) == nil
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}
