package postgres_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/postgres"
)

// One idle connection is found silent. Statements that wait on others, and later ones on connections that are in use,
// are then not waited for as long as usual.
func TestOneSilentConnectionCastsDoubt(t *testing.T) {
	t.Parallel()
	w := newWiredBy(t, func(config *pgxpool.Config, log *slog.Logger) (*pgxpool.Pool, error) {
		return postgres.ConnectTrusting(t.Context(), config, log, 2*time.Second)
	})
	waiting, release := w.block()
	var conns []*pgxpool.Conn
	for range 2 {
		conn, err := w.pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(t.Context(), "select 1"); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	used := conns[0]
	defer used.Release()
	conns[1].Release()
	w.line.Freeze()
	release()
	store := postgres.New(w.pool, nil)
	w.await(func() bool {
		_, err := store.MarkGet(t.Context())
		return err == nil || postgres.NotFound(err)
	})
	later := make(chan error, 1)
	go func() {
		_, err := used.Exec(t.Context(), "select 1")
		later <- err
	}()
	for range 3 {
		var err error
		select {
		case err = <-waiting:
		case err = <-later:
		case <-time.After(time.Minute):
			t.Fatalf("a statement is waited for; the log:\n%s", w.log)
		}
		if !postgres.Unavailable(err) {
			t.Errorf("a statement whose answer is lost ended with %v", err)
		}
	}
}

// A session that is younger than the connection belongs to another client.
func TestOnlyItsOwnSessionIsEnded(t *testing.T) {
	t.Parallel()
	pool := pgtest.DB(t)
	other, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Release()
	asking, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer asking.Release()
	end := func(age time.Duration) error {
		if err := postgres.EndBackend(t.Context(), asking.Conn(), other.Conn().PgConn().PID(), age); err != nil {
			t.Fatal(err)
		}
		_, err := other.Exec(t.Context(), "select 1")
		return err
	}
	if err := end(24 * time.Hour); err != nil {
		t.Errorf("another client's session was ended: %v", err)
	}
	if err := end(0); err == nil {
		t.Error("the connection's own session was not ended")
	}
}
