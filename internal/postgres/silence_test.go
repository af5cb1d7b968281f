package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tributaryhq/tributary/internal/embedded/cable"
	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/watchdog"
)

const (
	soon = 100 * time.Millisecond
	// patient is for what a server that answers may take on a loaded machine.
	patient = 30 * time.Second
)

// wired is a pool that reaches its database by a cable.
type wired struct {
	t     *testing.T
	line  *cable.Cable
	pool  *pgxpool.Pool
	log   *syncLog
	dials atomic.Int64
	// direct does not go by the cable.
	direct *pgx.Conn
}

func newWired(t *testing.T, ask time.Duration) *wired {
	t.Helper()
	return newWiredBy(t, func(config *pgxpool.Config, log *slog.Logger) (*pgxpool.Pool, error) {
		return postgres.ConnectImpatiently(t.Context(), config, log, soon, ask)
	})
}

// newWiredBy is newWired with a pool that connect opens.
func newWiredBy(t *testing.T, connect func(*pgxpool.Config, *slog.Logger) (*pgxpool.Pool, error)) *wired {
	t.Helper()
	address := pgtest.URL(t)
	w := &wired{t: t, line: cable.New(t, address), log: &syncLog{}}
	var err error
	if w.direct, err = pgx.Connect(t.Context(), address); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.direct.Close(context.Background()) })
	config, err := pgxpool.ParseConfig(w.line.URL)
	if err != nil {
		t.Fatal(err)
	}
	config.MaxConns = 8
	config.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return true }
	dial := config.ConnConfig.DialFunc
	config.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		w.dials.Add(1)
		return dial(ctx, network, address)
	}
	w.pool, err = connect(config, slog.New(slog.NewTextHandler(w.log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.pool.Close)
	return w
}

func (w *wired) exec(sql string) {
	w.t.Helper()
	if _, err := w.direct.Exec(w.t.Context(), sql); err != nil {
		w.t.Fatal(err)
	}
}

// block has two transactions wait for a row that is locked until release is called. It returns once both wait.
func (w *wired) block() (ended <-chan error, release func()) {
	w.t.Helper()
	const transactions = 2
	store := postgres.New(w.pool, nil)
	id := insertIntegration(w.t, store, "one")
	w.exec("begin")
	w.exec("select from integrations for update")
	results := make(chan error, transactions)
	for range transactions {
		go func() {
			results <- store.InTx(w.t.Context(), func(tx *postgres.Tx) error {
				_, err := tx.IntegrationLock(w.t.Context(), id)
				return err
			})
		}()
	}
	w.await(func() bool {
		const waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
		w.exec("select pg_stat_clear_snapshot()") // within its transaction it would see the same again
		var n int
		err := w.direct.QueryRow(w.t.Context(), waiting).Scan(&n)
		return err == nil && n == transactions
	})
	return results, func() { w.t.Helper(); w.exec("commit") }
}

// answers fails the test unless the database is reached.
func (w *wired) answers() {
	w.t.Helper()
	if _, err := postgres.New(w.pool, nil).MarkGet(w.t.Context()); err != nil && !postgres.NotFound(err) {
		w.t.Errorf("a new statement: %v; the log:\n%s", err, w.log)
	}
}

// A statement that takes long is asked about, and goes on.
func TestLongStatementGoesOn(t *testing.T) {
	t.Parallel()
	w := newWired(t, patient)
	ended, release := w.block()
	before := w.dials.Load()
	w.await(func() bool { return w.dials.Load() >= before+6 })
	release()
	for range 2 {
		if err := <-ended; err != nil {
			t.Errorf("%v; the log:\n%s", err, w.log)
		}
	}
	if w.log.String() != "" {
		t.Errorf("the log:\n%s", w.log)
	}
}

// The answers to two statements are lost with their connections, which stay open. Others are idle meanwhile.
func TestLostAnswerIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWired(t, patient)
	ended, release := w.block()
	for range 2 {
		conn, err := w.pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Release()
	}
	w.line.Freeze()
	release()
	for range 2 {
		if err := <-ended; !postgres.Unavailable(err) || errors.Is(err, context.Canceled) {
			t.Errorf("a statement whose answer is lost ended with %v", err)
		}
	}
	if n := strings.Count(w.log.String(), `level=WARN msg="Postgres does not answer on a connection, which is given up" statement="-- name: IntegrationLock :one"`); n != 2 {
		t.Errorf("%d warnings, want 2:\n%s", n, w.log)
	}
	w.answers()
}

// Idle connections were lost: the first question finds it out, and new ones are made at once.
func TestLostIdleConnections(t *testing.T) {
	t.Parallel()
	w := newWired(t, time.Second)
	var all []*pgxpool.Conn
	for range 8 {
		conn, err := w.pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, conn)
	}
	w.line.Freeze()
	for _, conn := range all {
		conn.Release()
	}
	store := postgres.New(w.pool, nil)
	for range 8 {
		w.await(func() bool {
			_, err := store.MarkGet(t.Context())
			return err == nil || postgres.NotFound(err)
		})
	}
}

// Neither the open connections nor new ones get an answer for a while.
func TestSilentServer(t *testing.T) {
	t.Parallel()
	w := newWired(t, time.Second)
	defer w.line.Cut() // what is frozen would be waited for when the pool is closed
	ended, release := w.block()
	w.line.FreezeAll()
	release()
	for range 2 {
		if err := <-ended; !postgres.Unavailable(err) || errors.Is(err, context.Canceled) {
			t.Errorf("a statement whose answer is lost ended with %v", err)
		}
	}
	store := postgres.New(w.pool, nil)
	if err := store.Ready(t.Context()); err == nil {
		t.Error("a database that does not answer is ready")
	}
	if _, err := store.MarkGet(t.Context()); !postgres.Unavailable(err) {
		t.Errorf("a statement at a server that does not answer ended with %v", err)
	}
	w.line.Mend()
	w.await(func() bool { return store.Ready(t.Context()) == nil })
}

// A server that takes connections and never says a word is told of, and not waited for.
func TestServerWithoutAWord(t *testing.T) {
	t.Parallel()
	line := cable.New(t, "postgres://ann@127.0.0.1:1/x")
	line.FreezeAll()
	config, err := pgxpool.ParseConfig(line.URL)
	if err != nil {
		t.Fatal(err)
	}
	config.ConnConfig.ConnectTimeout = 0
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	told := &callLog{call: cancel}
	if _, err := postgres.ConnectImpatiently(ctx, config, slog.New(slog.NewTextHandler(told, nil)), soon, soon); !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}

// callLog calls a function at the first line.
type callLog struct{ call func() }

func (l *callLog) Write(p []byte) (int, error) { l.call(); return len(p), nil }

// A connection that listens is lost while nothing is told. Notifications are heard again, by a new one.
func TestLostListener(t *testing.T) {
	t.Parallel()
	w := newWired(t, patient)
	store := postgres.New(w.pool, nil)
	store.Hear(soon, 5*time.Second)
	heard := make(chan string, 100)
	var listening sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	listening.Go(func() { store.Listen(ctx, "news", func(payload string) { heard <- payload }) })
	defer listening.Wait()
	defer cancel()
	want := func(payload string) {
		t.Helper()
		select {
		case got := <-heard:
			if got != payload {
				t.Errorf("heard %q, want %q", got, payload)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%q was not heard", payload)
		}
	}
	want("")
	w.exec("notify news, 'one'")
	want("one")
	w.line.Freeze()
	want("")
	w.exec("notify news, 'two'")
	want("two")
}

// What is decided of a statement without an answer.
func TestJudge(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, says string
		before     bool
		after      time.Duration
		again      time.Duration
		lost       bool
	}{
		{"at work", "working", false, time.Hour, 15 * time.Second, false},
		{"at work after all", "working", true, 20 * time.Second, 15 * time.Second, false},
		{"answered perhaps just now", "idle", false, 15 * time.Second, time.Second, false},
		{"answered before", "idle", true, 16 * time.Second, time.Second, true},
		{"behind a pooler", "unknown", false, 119 * time.Second, 15 * time.Second, false},
		{"behind a pooler for long", "unknown", false, 2 * time.Minute, 15 * time.Second, true},
	}
	for _, tt := range tests {
		again, lost := postgres.Judge(tt.says, tt.before, tt.after)
		if lost != tt.lost || !lost && again != tt.again {
			t.Errorf("%s: lost %t, again after %s", tt.name, lost, again)
		}
	}
}

func (w *wired) await(cond func() bool) {
	w.t.Helper()
	ticks := time.NewTicker(5 * time.Millisecond)
	defer ticks.Stop()
	for end := time.After(time.Minute); !cond(); {
		select {
		case <-ticks.C:
		case <-end:
			w.t.Fatalf("waited in vain; the log:\n%s", w.log)
		}
	}
}

type syncLog struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *syncLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(p)
}

func (l *syncLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.String()
}

// The watchdog sees that a step gets on by each answer of Postgres, and not by an error.
func TestAnswersShowOnTheBoard(t *testing.T) {
	t.Parallel()
	w := newWired(t, patient)
	store, board := postgres.New(w.pool, nil), &watchdog.Board{}
	_ = watchdog.Step(watchdog.WithBoard(t.Context(), board), "look", func(ctx context.Context) error {
		gotOn := func(what func()) bool {
			before := time.Now()
			what()
			return board.Moving(time.Since(before), time.Hour) == nil
		}
		refused := func() {
			_, err := w.pool.Exec(ctx, "select 1/0")
			if err == nil {
				t.Error("no error")
			}
		}
		if gotOn(refused) {
			t.Error("an error of Postgres shows as progress")
		}
		if !gotOn(func() { _, _ = store.IntegrationNames(ctx, nil) }) {
			t.Error("an answer of Postgres does not show")
		}
		return nil
	})
}
