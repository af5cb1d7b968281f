package postgres

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/multitracer"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tributaryhq/tributary/internal/watchdog"
)

// patience is how long connections wait for a server that says nothing.
type patience struct {
	// silent is for how long a statement may be without an answer before Postgres is asked on another connection whether
	// it works on it, and again after as long. ask is how long that answer may take.
	silent, ask time.Duration
	// grace is what an answer that was given has to arrive.
	grace time.Duration
	// unknown is for how long a statement may go on of which Postgres can't say whether it works on it: a pooler is
	// between.
	unknown time.Duration
	// connect is how long a connection may take to be made, unless the URL says it, and ping how long an idle one may
	// take to answer. closing is how long one that ends has for last words.
	connect, ping, closing time.Duration
}

func usualPatience() patience {
	return patience{
		silent: 15 * time.Second, ask: 10 * time.Second, grace: time.Second, unknown: 2 * time.Minute,
		connect: 10 * time.Second, ping: 3 * time.Second, closing: 2 * time.Second,
	}
}

// keepalive notices within half a minute that a host is gone, and keeps idle connections known to what forwards them.
func keepalive() net.KeepAliveConfig {
	return net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}
}

// silence ends the wait for an answer that will not come: a proxy, a router or a host between may vanish without a word.
// A statement that takes long is not ended: while Postgres works on it, it goes on. It sees all statements of a pool's
// connections as the tracer.
type silence struct {
	patience
	log *slog.Logger
	// pool is nil until it is opened.
	pool atomic.Pointer[pgxpool.Pool]
}

// bound has the connections of a configuration end when the server is silent.
func (s *silence) bound(config *pgx.ConnConfig) {
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = s.connect
	}
	dial := config.DialFunc
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if tcp, is := conn.(*net.TCPConn); is {
			_ = tcp.SetKeepAliveConfig(keepalive())
		}
		return conn, err
	}
	if config.Tracer == nil {
		config.Tracer = s
	} else {
		config.Tracer = multitracer.New(config.Tracer, s)
	}
}

// boundPool is bound for a pool.
func (s *silence) boundPool(config *pgxpool.Config) {
	s.bound(config.ConnConfig)
	if config.PingTimeout == 0 {
		config.PingTimeout = s.ping
	}
	// The driver gives a connection that has failed 15 s for its last words, and its place in the pool is taken meanwhile.
	others := config.BeforeClose
	config.BeforeClose = func(conn *pgx.Conn) {
		if others != nil {
			others(conn)
		}
		time.AfterFunc(s.closing, func() { _ = conn.PgConn().Conn().Close() })
	}
}

// doubtAll has the pool make its connections anew: what made one of them silent may well have done so to the others.
func (s *silence) doubtAll() {
	if pool := s.pool.Load(); pool != nil {
		pool.Reset()
	}
}

// TraceQueryStart begins to watch a statement.
func (s *silence) TraceQueryStart(ctx context.Context, conn *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	s.statement(conn).begin(data.SQL)
	return ctx
}

// TraceQueryEnd ends it.
func (s *silence) TraceQueryEnd(ctx context.Context, conn *pgx.Conn, data pgx.TraceQueryEndData) {
	if data.Err == nil {
		watchdog.Alive(ctx)
	}
	// A question that is given up sooner says little of the connection.
	if took := s.statement(conn).end(); took >= s.ping && isSilence(data.Err) {
		s.doubtAll()
	}
}

// TraceCopyFromStart begins to watch a copy.
func (s *silence) TraceCopyFromStart(ctx context.Context, conn *pgx.Conn, data pgx.TraceCopyFromStartData) context.Context {
	s.statement(conn).begin("copy " + data.TableName.Sanitize())
	return ctx
}

// TraceCopyFromEnd ends it.
func (s *silence) TraceCopyFromEnd(ctx context.Context, conn *pgx.Conn, _ pgx.TraceCopyFromEndData) {
	watchdog.Alive(ctx)
	s.statement(conn).end()
}

// watched is where a connection keeps what watches its statements.
const watched = "statement"

// statement is what watches the statements of a connection, which come one after the other.
func (s *silence) statement(conn *pgx.Conn) *statement {
	custom := conn.PgConn().CustomData()
	if st, is := custom[watched].(*statement); is {
		return st
	}
	st := &statement{silence: s, conn: conn}
	st.timer = time.AfterFunc(time.Hour, st.doubt)
	st.timer.Stop()
	custom[watched] = st
	return st
}

// statement is the one that a connection is at.
type statement struct {
	silence *silence
	conn    *pgx.Conn
	timer   *time.Timer

	mu sync.Mutex
	// sql is empty while there is none.
	sql   string
	began time.Time
	// idle is whether Postgres has said that it does not work on it.
	idle bool
	// stopAsking ends the question that is put about it.
	stopAsking context.CancelFunc
}

func (st *statement) begin(sql string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.sql, st.began, st.idle = sql, time.Now(), false
	st.timer.Reset(st.silence.silent)
}

func (st *statement) end() (took time.Duration) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.timer.Stop()
	st.sql = ""
	if st.stopAsking != nil {
		st.stopAsking()
	}
	return time.Since(st.began)
}

// doubt is called when the statement has been without an answer for long.
func (st *statement) doubt() {
	ctx, cancel := context.WithTimeout(context.Background(), st.silence.ask)
	defer cancel()
	st.mu.Lock()
	began := st.began
	if st.stopAsking != nil {
		// A question about the statement before is just ending.
		st.timer.Reset(st.silence.grace)
	}
	if st.sql == "" || st.stopAsking != nil || time.Since(began) < st.silence.silent {
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
			_, _ = asking.Exec(ctx, "select pg_terminate_backend($1)", pgx.QueryExecModeExec, int32(st.conn.PgConn().PID()))
		}
		return
	}
	st.idle = found == idle
	st.timer.Reset(again)
}

// judge says when to ask again about a statement, or that its answer is lost. before is whether Postgres was idle at the
// question before.
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
	st.silence.doubtAll()
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

// ask asks Postgres, on a connection of its own that it returns, whether it works on what another connection has sent. An
// error says that it does not answer there either.
func ask(ctx context.Context, about *pgx.Conn) (conn *pgx.Conn, found activity, err error) {
	config := about.Config()
	config.Tracer = nil
	if conn, err = pgx.ConnectConfig(ctx, config); err == nil {
		var backend uint32
		var works bool
		err = conn.QueryRow(ctx, activityQuery, pgx.QueryExecModeExec, int32(about.PgConn().PID())).Scan(&backend, &works)
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

// isSilence reports whether an error says that no answer came in time.
func isSilence(err error) bool {
	var network net.Error
	return errors.As(err, &network) && network.Timeout()
}
