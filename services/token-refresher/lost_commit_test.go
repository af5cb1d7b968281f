package tokenrefresher_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tributaryhq/tributary/internal/platform"
)

// forgetful is a connection to Postgres that breaks, once for all connections, when the answer to a commit comes: that
// of a transaction with a given query. It is used by one goroutine at a time.
type forgetful struct {
	net.Conn
	query  []byte
	broken *atomic.Bool
	// seen says that the query was sent, and lost that the commit was.
	seen, lost bool
}

func (c *forgetful) Write(p []byte) (int, error) {
	c.seen = c.seen || bytes.Contains(p, c.query)
	if c.seen && bytes.Contains(p, []byte("commit")) {
		c.seen, c.lost = false, c.broken.CompareAndSwap(false, true)
	}
	return c.Conn.Write(p)
}

func (c *forgetful) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.lost && err == nil {
		_ = c.Conn.Close()
		return 0, io.ErrUnexpectedEOF
	}
	return n, err
}

// TestCommitWithoutAnAnswer has the answer to the commit of a new token be lost. The token is stored, which counts as a
// refresh, and it is beside the database as well: when that goes back, it is put back.
func TestCommitWithoutAnAnswer(t *testing.T) {
	broken := &atomic.Bool{}
	f := start(t, func(c *platform.Config) {
		config := c.Pool.Config()
		dial := config.ConnConfig.DialFunc
		config.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &forgetful{Conn: conn, query: []byte("-- name: GrantRefreshed"), broken: broken}, nil
		}
		pool, err := pgxpool.NewWithConfig(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(pool.Close)
		c.Pool = pool
	})
	id := f.settled()
	sql(t, f.pool, dueNow)
	f.await("a refresh", func() bool { return f.outcomes("refreshed") == 1 })
	if !broken.Load() {
		t.Fatal("no commit was left without an answer")
	}
	if n := f.outcomes("fenced"); n != 0 {
		t.Errorf("%d refreshes are said to have been overtaken", n)
	}
	newest := f.credentials(id)["refresh_token"]
	f.goBack("now()")
	f.await("the token to be put back", func() bool { return f.outcomes("restored") == 1 })
	if got := f.credentials(id)["refresh_token"]; got != newest {
		t.Errorf("the refresh token is %v, want %v", got, newest)
	}
}
