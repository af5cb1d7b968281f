package pgtest

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tributaryhq/tributary/db"
	pgserver "github.com/tributaryhq/tributary/internal/embedded/postgres"
)

// Server is a server of a test alone, for tests that change settings of the server.
type Server struct {
	t    testing.TB
	url  string
	conn *pgx.Conn
}

// Config is the configuration of a pool on the server's database.
func (s *Server) Config() *pgxpool.Config {
	s.t.Helper()
	config, err := pgxpool.ParseConfig(s.url)
	if err != nil {
		s.t.Fatalf("pgtest: %v", err)
	}
	return config
}

// Alone starts a server with a migrated database, which ends with the test. It is as careful as a production server.
func Alone(t testing.TB) *Server {
	t.Helper()
	server, err := pgserver.Start(t.Context(), pgserver.Options{Durable: true})
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(server.Stop)
	s := &Server{t: t, url: server.URL()}
	if _, err := db.Migrate(t.Context(), s.url); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	if s.conn, err = pgx.Connect(t.Context(), s.url); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() { _ = s.conn.Close(context.Background()) })
	return s
}

// AwaitStandby has all commits wait for a synchronous standby, which there is not, or for none.
func (s *Server) AwaitStandby(await bool) {
	s.t.Helper()
	names := map[bool]string{true: "nobody"}[await]
	s.exec("alter system set synchronous_standby_names = '" + names + "'")
	s.exec("select pg_reload_conf()")
	for await && !s.waits() {
		// The server's processes read the setting one after the other.
	}
}

// waits reports whether a commit waits for a standby, and cancels that.
func (s *Server) waits() bool {
	s.t.Helper()
	other, err := pgx.Connect(s.t.Context(), s.url)
	if err != nil {
		s.t.Fatalf("pgtest: %v", err)
	}
	defer func() { _ = other.Close(context.Background()) }()
	committed := make(chan struct{})
	go func() {
		defer close(committed)
		_, _ = other.Exec(s.t.Context(), "select pg_logical_emit_message(true, 'pgtest', '')", pgx.QueryExecModeSimpleProtocol)
	}()
	for {
		if s.cancelWaits() > 0 {
			<-committed
			return true
		}
		select {
		case <-committed:
			return false
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// CancelWait cancels the next wait of a commit for a standby, once somebody waits. Nothing else may be asked of the
// server until done is called, after the commit.
func (s *Server) CancelWait() (done func()) {
	ctx, stop := context.WithCancel(s.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for s.cancelWaits() == 0 {
			select {
			case <-ctx.Done():
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	return func() { stop(); <-ended }
}

// cancelWaits cancels what waits for a standby, and returns how many that were.
func (s *Server) cancelWaits() (waiting int) {
	const cancel = "select count(pg_cancel_backend(pid)) from pg_stat_activity where wait_event = 'SyncRep'"
	if err := s.conn.QueryRow(s.t.Context(), cancel).Scan(&waiting); err != nil && s.t.Context().Err() == nil {
		s.t.Errorf("pgtest: %v", err)
	}
	return waiting
}

func (s *Server) exec(sql string) {
	s.t.Helper()
	if _, err := s.conn.Exec(s.t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		s.t.Fatalf("pgtest: %s: %v", sql, err)
	}
}
