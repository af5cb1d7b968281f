package postgres

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/multitracer"
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
	// doubts counts how often a connection was found silent, and waiting has the statements without an answer.
	doubts  atomic.Int64
	waiting sync.Map
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
	should := config.ShouldPing
	config.ShouldPing = func(ctx context.Context, of pgxpool.ShouldPingParams) bool {
		asked := of.IdleDuration > time.Second
		if should != nil {
			asked = should(ctx, of)
		}
		if st := statementOf(of.Conn); asked && st != nil {
			st.beginPing()
		}
		return asked
	}
	// The driver gives a connection that has failed 15 s for its last words, and its place in the pool is taken meanwhile.
	others := config.BeforeClose
	config.BeforeClose = func(conn *pgx.Conn) {
		if others != nil {
			others(conn)
		}
		if st := statementOf(conn); st != nil && conn.IsClosed() && st.pingIsLost() {
			s.doubtAll()
		}
		time.AfterFunc(s.closing, func() { _ = conn.PgConn().Conn().Close() })
	}
}

// doubtAll has the pool make its connections anew, and Postgres be asked soon about the statements that wait: what made
// one connection silent may well have done so to the others.
func (s *silence) doubtAll() {
	s.doubts.Add(1)
	s.waiting.Range(func(st, _ any) bool { st.(*statement).hurry(); return true })
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
	if took := s.statement(conn).end(data.Err); took >= s.ping && isSilence(data.Err) {
		s.doubtAll()
	}
}

// TraceCopyFromStart begins to watch a copy.
func (s *silence) TraceCopyFromStart(ctx context.Context, conn *pgx.Conn, data pgx.TraceCopyFromStartData) context.Context {
	s.statement(conn).begin("copy " + data.TableName.Sanitize())
	return ctx
}

// TraceCopyFromEnd ends it.
func (s *silence) TraceCopyFromEnd(ctx context.Context, conn *pgx.Conn, data pgx.TraceCopyFromEndData) {
	watchdog.Alive(ctx)
	s.statement(conn).end(data.Err)
}

// isSilence reports whether an error says that no answer came in time.
func isSilence(err error) bool {
	var network net.Error
	return errors.As(err, &network) && network.Timeout()
}
