package e2e_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tributaryhq/tributary/db"
	"github.com/tributaryhq/tributary/internal/embedded/cable"
	pgserver "github.com/tributaryhq/tributary/internal/embedded/postgres"
)

// cluster is a PostgreSQL that services reach by one address, whichever server is behind it: a primary that can be lost, and a standby or a backup that takes
// its place and lacks what the primary has committed since.
type cluster struct {
	t *testing.T
	// line is the address that services have.
	line    *cable.Cable
	primary *node
	bin     string
	// password is the superuser's, and owner whom PostgreSQL runs as.
	password string
	owner    *syscall.Credential
	dir      string
}

// node is one server.
type node struct {
	dir  string
	port string
	// url is the server's own address.
	url string
	// wire is what replication goes by; nil for a primary.
	wire *cable.Cable
	// kill ends the server as a power cut does.
	kill func()
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	server, err := pgserver.Start(t.Context(), pgserver.Options{Durable: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	if _, err := db.Migrate(t.Context(), server.URL()); err != nil {
		t.Fatal(err)
	}
	address, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, bin: server.Installation().BinDir, line: cable.New(t, server.URL())}
	if _, err := os.Stat(filepath.Join(c.bin, "pg_basebackup")); err != nil {
		t.Skip("the fetched PostgreSQL has no pg_basebackup, so that no failover is tested: apt-get install postgresql")
	}
	c.password, _ = address.User.Password()
	n := &node{url: server.URL()}
	c.query(n.url, "show data_directory", &n.dir)
	info, err := os.Stat(n.dir)
	if err != nil {
		t.Fatal(err)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 {
		c.owner = &syscall.Credential{Uid: stat.Uid, Gid: stat.Gid}
	}
	// Beside the primary's folder, which the account can reach.
	if c.dir, err = os.MkdirTemp(filepath.Dir(filepath.Dir(n.dir)), "tributary-standby-"); err != nil { //nolint:usetesting // that folder is closed to it
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(c.dir) })
	c.own(c.dir)
	n.kill = func() {
		pidFile, err := os.ReadFile(filepath.Join(n.dir, "postmaster.pid"))
		if err != nil {
			t.Fatal(err)
		}
		pid, err := strconv.Atoi(strings.SplitN(string(pidFile), "\n", 2)[0])
		if err != nil {
			t.Fatal(err)
		}
		_ = syscall.Kill(pid, syscall.SIGKILL)
		<-server.Done()
	}
	c.primary = n
	return c
}

// query asks a server for one value.
func (c *cluster) query(address, sql string, into any) {
	c.t.Helper()
	if err := ask(c.t.Context(), address, sql, into); err != nil {
		c.t.Fatalf("%s: %v", sql, err)
	}
}

func ask(ctx context.Context, address, sql string, into any) error {
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	return conn.QueryRow(ctx, sql).Scan(into)
}

func (c *cluster) own(path string) {
	c.t.Helper()
	if c.owner == nil {
		return
	}
	if err := os.Chown(path, int(c.owner.Uid), int(c.owner.Gid)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) command(name string, args ...string) *exec.Cmd {
	command := exec.Command(filepath.Join(c.bin, name), args...)
	command.Dir, command.Env = "/", []string{"LC_ALL=C", "TZ=UTC", "PGPASSWORD=" + c.password}
	command.SysProcAttr = &syscall.SysProcAttr{Credential: c.owner, Pdeathsig: syscall.SIGKILL}
	return command
}

// backUp copies the primary as it is now, and with replicates follows it from then on.
func (c *cluster) backUp(replicates bool) *node {
	c.t.Helper()
	n := &node{wire: cable.New(c.t, c.primary.url), port: freePort(c.t)}
	dir, err := os.MkdirTemp(c.dir, "data-")
	if err != nil {
		c.t.Fatal(err)
	}
	n.dir = dir
	c.own(n.dir)
	address, err := url.Parse(n.wire.URL)
	if err != nil {
		c.t.Fatal(err)
	}
	args := []string{"-h", address.Hostname(), "-p", address.Port(), "-U", address.User.Username(), "-D", n.dir, "-c", "fast", "-X", "stream", "--no-sync"}
	if replicates {
		args = append(args, "-R")
	}
	if output, err := c.command("pg_basebackup", args...).CombinedOutput(); err != nil {
		c.t.Fatalf("pg_basebackup: %v: %s", err, output)
	}
	own := *address
	own.Host = net.JoinHostPort("127.0.0.1", n.port)
	n.url = own.String()
	if replicates {
		c.start(n)
		c.awaitReplica(n)
	}
	return n
}

// start starts a server on a copy.
func (c *cluster) start(n *node) {
	c.t.Helper()
	output := &lockedBuffer{}
	command := c.command("postgres", "-D", n.dir, "-c", "port="+n.port, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
		"-c", "max_connections=1000", "-c", "timezone=UTC", "-c", "wal_retrieve_retry_interval=100ms")
	command.Stdout, command.Stderr = output, output
	if err := command.Start(); err != nil {
		c.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = command.Wait(); close(ended) }()
	n.kill = func() {
		_ = command.Process.Kill()
		<-ended
	}
	c.t.Cleanup(func() {
		n.kill()
		if c.t.Failed() {
			c.t.Logf("--- postgres on port %s\n%s", n.port, output.tail())
		}
	})
	c.await("a server to take connections", func() bool {
		var one int
		return ask(c.t.Context(), n.url, "select 1", &one) == nil
	})
}

// awaitReplica waits until a standby has all that the primary has committed by now.
func (c *cluster) awaitReplica(n *node) {
	c.t.Helper()
	var at string
	c.query(c.primary.url, "select pg_current_wal_flush_lsn()::text", &at)
	c.await("the standby to catch up", func() bool {
		var there bool
		err := ask(c.t.Context(), n.url, fmt.Sprintf("select coalesce(pg_last_wal_replay_lsn() >= '%s', false)", at), &there)
		return err == nil && there
	})
}

func (c *cluster) await(what string, holds func() bool) {
	c.t.Helper()
	deadline := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(deadline) {
			c.t.Fatalf("waited %s for %s", patience, what)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// failOver kills the primary and has the copy take its place, under the address that services have.
func (c *cluster) failOver(n *node) {
	c.t.Helper()
	c.lose()
	c.replace(n)
}

// lose kills the primary.
func (c *cluster) lose() {
	c.line.Cut()
	c.primary.kill()
}

// replace has the copy take the place of the primary that was lost.
func (c *cluster) replace(n *node) {
	c.t.Helper()
	n.wire.Cut()
	if n.kill == nil {
		c.start(n)
	} else {
		var promoted bool
		c.query(n.url, "select pg_promote()", &promoted)
	}
	c.await("the server to take writes", func() bool {
		var recovers bool
		return ask(c.t.Context(), n.url, "select pg_is_in_recovery()", &recovers) == nil && !recovers
	})
	c.primary = n
	c.line.Turn(n.url)
	c.line.Mend()
}
