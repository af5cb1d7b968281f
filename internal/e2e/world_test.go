package e2e_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"

	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/secret"
	"github.com/tributaryhq/tributary/pkg/events"
)

const (
	// patience is how long a test waits for what must happen; it says nothing about speed. patiently is for what waits
	// for connections and leases to end first.
	patience, patiently = 90 * time.Second, 5 * time.Minute
	// silence is the clock that the processes run by: how long they may be silent before others take over.
	silence = time.Second
	// steadily is how long work in hand may be silent where nothing dies. A busy machine is silent for a second, and
	// then work would be done twice.
	steadily = 15 * time.Second
)

// world is one whole system, and the test's hands on it.
type world struct {
	*upstream
	t        *testing.T
	nats     *natstest.Server
	natsURL  string
	nc       *nats.Conn
	pool     *pgxpool.Pool
	store    *postgres.Store
	database string
	keys     string
	timing   time.Duration
	lease    time.Duration
	patience time.Duration
	env      []string
	// program is what the processes are started from: a test binary, this one unless it is set.
	program string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	server := natstest.NewListening(t)
	w := newWorldOn(t, server.URL(), server.Connect())
	w.nats = server
	return w
}

// newSteadyWorld is newWorld for a test in which nothing dies, so that it can count what is done once.
func newSteadyWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.lease = steadily
	return w
}

// newWorldOn is newWorld on a NATS that the test runs by itself.
func newWorldOn(t *testing.T, natsURL string, nc *nats.Conn) *world {
	t.Helper()
	return newWorldAt(t, natsURL, nc, pgtest.URL(t))
}

// newWorldAt is newWorldOn on a database that the test runs by itself.
func newWorldAt(t *testing.T, natsURL string, nc *nats.Conn, database string) *world {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	keys := filepath.Join(t.TempDir(), "keys")
	if os.Getenv("CHAOS_BESIDE") != "" {
		// An earlier commit may not know the newest format of keys.
		if err := os.WriteFile(keys, []byte("dev:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ring, err := secret.LoadOrCreate(keys, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return &world{
		upstream: newUpstream(t), t: t, natsURL: natsURL, nc: nc, pool: pool, store: postgres.New(pool, ring), database: database, keys: keys, timing: silence,
		patience: patience,
	}
}

// process is one service process.
type process struct {
	name   string
	cmd    *exec.Cmd
	output *lockedBuffer
	ended  chan struct{}
}

// start starts a service; env adds to its environment.
func (w *world) start(service string, env ...string) *process {
	w.t.Helper()
	return w.startServing(service, "", env...)
}

// startServing is start with an address for metrics and health.
func (w *world) startServing(service, health string, env ...string) *process {
	w.t.Helper()
	p := &process{name: service, output: &lockedBuffer{}, ended: make(chan struct{})}
	p.cmd = exec.Command(cmp.Or(w.program, os.Args[0]), service, "--http-addr="+health, "--log-level=debug", "--connections=6", "--concurrency=8")
	p.cmd.Env = append(append(os.Environ(), roleVariable+"=1", "TRIBUTARY_ALLOW_NETWORKS=loopback", "DATABASE_URL="+w.database, "TRIBUTARY_NATS_URL="+w.natsURL,
		"TRIBUTARY_KEYS_FILE="+w.keys, "TRIBUTARY_TEST_TIMING="+w.timing.String(), "TRIBUTARY_TEST_LEASE="+w.lease.String(), "GOMAXPROCS=2"), append(w.env, env...)...)
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	w.t.Cleanup(func() {
		p.kill()
		if w.t.Failed() {
			w.t.Logf("--- %s\n%s", p.name, p.output.tail())
		}
	})
	return p
}

// startAll starts one of each service.
func (w *world) startAll(env ...string) []*process {
	w.t.Helper()
	return []*process{w.start("scheduler", env...), w.start("syncer", env...), w.start("item-worker", env...)}
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// stop asks the process to stop and returns its exit code.
func (p *process) stop() int {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	<-p.ended
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// create makes an integration that is due now.
func (w *world) create(name, provider string) uuid.UUID {
	w.t.Helper()
	return w.createAt(w.upstream, name, provider)
}

// createAt is create with an upstream of its own.
func (w *world) createAt(u *upstream, name, provider string) uuid.UUID {
	w.t.Helper()
	now := time.Now()
	id := postgres.NewID()
	metadata, err := json.Marshal(feedMetadata{URL: u.server.URL})
	if err != nil {
		w.t.Fatal(err)
	}
	_, err = w.store.IntegrationInsert(w.t.Context(), dbsqlc.IntegrationInsertParams{
		ID: id, Provider: provider, Name: name, Metadata: metadata, NextSyncAt: &now, Now: now,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

// command publishes a command as an operator would.
func (w *world) command(verb events.Verb, integration, body string) {
	w.t.Helper()
	js, err := w.nc.JetStream()
	if err != nil {
		w.t.Fatal(err)
	}
	// One id: what an answer was lost for may be stored.
	id := nats.MsgId(uuid.NewString())
	w.await("the command to be stored", func() bool {
		_, err := js.Publish(events.CommandSubject(verb, integration), []byte(body), id)
		return err == nil
	})
}

// await waits until a condition holds.
func (w *world) await(what string, holds func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(w.patience)
	for !holds() {
		if time.Now().After(deadline) {
			w.t.Fatalf("waited %s for %s\n%s", w.patience, what, w.describe())
		}
		select {
		case <-w.t.Context().Done():
			w.t.Fatal(w.t.Context().Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (w *world) integration(id uuid.UUID) *postgres.Integration {
	w.t.Helper()
	row, err := w.store.IntegrationGet(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return row
}

// cursor is the integration's cursor, empty for none.
func (w *world) cursor(id uuid.UUID) string {
	w.t.Helper()
	if c := w.integration(id).SyncCursor; c != nil {
		return *c
	}
	return ""
}

// runs lists the integration's runs, oldest first.
func (w *world) runs(id uuid.UUID) []*postgres.Run {
	w.t.Helper()
	rows, err := w.store.Queries.RunList(w.t.Context(), dbsqlc.RunListParams{IntegrationID: &id, Most: 100_000})
	if err != nil {
		w.t.Fatal(err)
	}
	slices.Reverse(rows)
	return rows
}

// awaitClosed waits until the n-th run is closed, and returns it.
func (w *world) awaitClosed(id uuid.UUID, n int) *postgres.Run {
	w.t.Helper()
	var run *postgres.Run
	w.await(fmt.Sprintf("run %d to close", n), func() bool {
		runs := w.runs(id)
		if len(runs) < n || runs[n-1].ClosedAt == nil {
			return false
		}
		run = runs[n-1]
		return true
	})
	return run
}

// dead lists the integration's dead items, oldest first. It leaves out those of a run's attempts before its last:
// a run may be driven again whenever its messages take long.
func (w *world) dead(id uuid.UUID) []*dbsqlc.DeadListRow {
	w.t.Helper()
	rows, err := w.store.DeadList(w.t.Context(), dbsqlc.DeadListParams{IntegrationID: &id, AllOfThem: true, Most: 10000})
	if err != nil {
		w.t.Fatal(err)
	}
	last := map[uuid.UUID]int32{}
	for _, row := range rows {
		last[row.RunID] = max(last[row.RunID], row.Attempt)
	}
	rows = slices.DeleteFunc(rows, func(row *dbsqlc.DeadListRow) bool { return row.Attempt < last[row.RunID] })
	slices.Reverse(rows)
	return rows
}

func (w *world) describe() string {
	var text bytes.Buffer
	rows, err := w.store.Queries.RunList(context.Background(), dbsqlc.RunListParams{Most: 20})
	if err != nil {
		return err.Error()
	}
	for _, r := range rows {
		_, _ = fmt.Fprintf(&text, "run %s %s attempt %d tries %d items %d done %d dead %d error %q\n", r.ID, r.State, r.Attempts, r.Tries, r.Items, r.Done, r.Dead, r.Error)
	}
	_, _ = fmt.Fprintf(&text, "%d handlings, %d pages\n", len(w.handlings("")), w.requests())
	return text.String()
}

// lockedBuffer keeps the end of a process's output.
type lockedBuffer struct {
	mu sync.Mutex
	b  []byte
}

const keepOutput = 64 << 10

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b = append(l.b, p...)
	if len(l.b) > keepOutput {
		l.b = append([]byte{}, l.b[len(l.b)-keepOutput/2:]...)
	}
	return len(p), nil
}

func (l *lockedBuffer) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.b)
}
