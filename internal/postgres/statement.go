package postgres

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// watched is where a connection keeps what watches its statements.
const watched = "statement"

// statement is what watches the statements of a connection, which come one after the other.
func (s *silence) statement(conn *pgx.Conn) *statement {
	if st := statementOf(conn); st != nil {
		return st
	}
	st := &statement{silence: s, conn: conn, since: time.Now(), trusted: s.doubts.Load()}
	st.timer = time.AfterFunc(time.Hour, st.doubt)
	st.timer.Stop()
	conn.PgConn().CustomData()[watched] = st
	return st
}

// statementOf is nil for a connection that has had no statement.
func statementOf(conn *pgx.Conn) *statement {
	st, _ := conn.PgConn().CustomData()[watched].(*statement)
	return st
}

// statement is the one that a connection is at.
type statement struct {
	silence *silence
	conn    *pgx.Conn
	timer   *time.Timer
	// since is when the connection was seen first.
	since time.Time

	mu sync.Mutex
	// pinged is when the pool began to ping the connection, zero once a statement has followed.
	pinged time.Time
	// trusted is how many doubts there were at the connection's last answer.
	trusted int64
	// sql is empty while there is none.
	sql   string
	began time.Time
	// asked is when it began, or when Postgres was asked about it last. due is when Postgres is asked next.
	asked, due time.Time
	// idle is whether Postgres has said that it does not work on it.
	idle bool
	// stopAsking ends the question that is put about it.
	stopAsking context.CancelFunc
}

func (st *statement) begin(sql string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.sql, st.began, st.idle, st.pinged = sql, time.Now(), false, time.Time{}
	st.asked = st.began
	wait := st.silence.silent
	if st.trusted != st.silence.doubts.Load() {
		wait = min(wait, st.silence.ping)
	}
	st.askIn(wait)
	st.silence.waiting.Store(st, nil)
}

func (st *statement) end(err error) (took time.Duration) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.timer.Stop()
	st.sql = ""
	st.silence.waiting.Delete(st)
	if _, answered := errors.AsType[*pgconn.PgError](err); answered || err == nil {
		st.trusted = st.silence.doubts.Load()
	}
	if st.stopAsking != nil {
		st.stopAsking()
	}
	return time.Since(st.began)
}

func (st *statement) beginPing() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.pinged = time.Now()
}

// pingIsLost reports whether a connection ended because it did not answer a ping in time.
func (st *statement) pingIsLost() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return !st.pinged.IsZero() && time.Since(st.pinged) >= st.silence.ping
}

// askIn has doubt be called after a time.
func (st *statement) askIn(wait time.Duration) {
	st.due = time.Now().Add(wait)
	st.timer.Reset(wait)
}

// hurry has Postgres be asked sooner.
func (st *statement) hurry() {
	st.mu.Lock()
	defer st.mu.Unlock()
	soon := max(0, st.silence.ping-time.Since(st.asked))
	if st.sql != "" && st.stopAsking == nil && time.Until(st.due) > soon {
		st.askIn(soon)
	}
}

// doubt is called when the statement has been without an answer for long.
func (st *statement) doubt() {
	ctx, cancel := context.WithTimeout(context.Background(), st.silence.ask)
	defer cancel()
	st.mu.Lock()
	began := st.began
	if st.stopAsking != nil {
		// A question about the statement before is just ending.
		st.askIn(st.silence.grace)
	}
	if st.sql == "" || st.stopAsking != nil || time.Now().Before(st.due) {
		st.mu.Unlock()
		return
	}
	st.stopAsking = cancel
	st.mu.Unlock()
	asking, found, err := ask(ctx, st.conn)
	if asking != nil {
		defer func() { _ = asking.Close(ctx) }()
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.stopAsking = nil
	if st.sql == "" || st.began != began {
		return
	}
	again, lost := st.silence.judge(found, st.idle, time.Since(began))
	if err != nil || lost {
		st.giveUp(err)
		if found == idle {
			// Its transaction would keep its locks until Postgres itself notices.
			_ = endBackend(ctx, asking, st.conn.PgConn().PID(), time.Since(st.since))
		}
		return
	}
	st.idle, st.asked = found == idle, time.Now()
	st.askIn(again)
}

// judge says when to ask again about a statement, or that its answer is lost. before is whether Postgres was idle at
// the question before.
func (p patience) judge(found activity, before bool, after time.Duration) (again time.Duration, lost bool) {
	switch found {
	case working:
		return p.silent, false
	case unknown:
		return p.silent, after >= p.unknown
	default:
		// The answer may be on its way.
		return p.grace, before
	}
}

// giveUp ends the statement with an error of the network, after which the driver ends the connection.
func (st *statement) giveUp(why error) {
	if why == nil {
		why = errors.New("it is not at work on the statement any more")
	}
	name, _, _ := strings.Cut(st.sql, "\n")
	st.silence.log.Warn("Postgres does not answer on a connection, which is given up", "statement", name,
		"after", time.Since(st.began).Round(time.Millisecond), "error", why)
	_ = st.conn.PgConn().Conn().SetDeadline(time.Now())
	go st.silence.doubtAll() // it locks the statements
}

// activity is what Postgres says of a connection.
type activity int

const (
	unknown activity = iota
	idle
	working
)

// activityQuery also tells the process id of the connection that asks. A statement that waits for its client waits for
// nothing that will come: the client has sent all.
const activityQuery = `select pg_backend_pid(), exists(
    select from pg_stat_activity where pid = $1 and state <> 'idle' and state <> 'idle in transaction' and state <> 'idle in transaction (aborted)'
        and wait_event_type is distinct from 'Client')`

// ask asks Postgres, on a connection of its own that it returns, whether it works on what another connection has sent.
// An error says that it does not answer there either.
func ask(ctx context.Context, about *pgx.Conn) (conn *pgx.Conn, found activity, err error) {
	config := about.Config()
	config.Tracer = nil
	if conn, err = pgx.ConnectConfig(ctx, config); err == nil {
		var backend uint32
		var works bool
		err = conn.QueryRow(ctx, activityQuery, pgx.QueryExecModeExec, int32(about.PgConn().PID())).Scan(&backend,
			&works)
		switch {
		case err != nil:
		case backend != conn.PgConn().PID():
			// A pooler makes up the ids that it tells.
			return conn, unknown, nil
		case works:
			return conn, working, nil
		default:
			return conn, idle, nil
		}
	}
	if _, answered := errors.AsType[*pgconn.PgError](err); answered {
		return conn, unknown, nil
	}
	return conn, unknown, err
}

// endBackendQuery ends no session that is younger than the connection: after a failover the new server may have given
// the process id to another client.
const endBackendQuery = `select pg_terminate_backend(pid) from pg_stat_activity
where pid = $1 and backend_start <= now() - make_interval(secs => $2)`

func endBackend(ctx context.Context, on *pgx.Conn, pid uint32, age time.Duration) error {
	_, err := on.Exec(ctx, endBackendQuery, pgx.QueryExecModeExec, int32(pid), age.Seconds())
	return err
}
