package httpserver

import (
	"bytes"
	"container/list"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/tributaryhq/tributary/internal/share"
)

// conns are the open connections of a server. While they are fewer than the limit, each client may open its share of them. At the limit, a
// client that has none yet takes the place of the connection that has kept the server waiting the longest.
type conns struct {
	trusted func(netip.Addr) bool
	share   *share.Share[Client]

	mu sync.Mutex
	// waiting has the connections that the client has to send something on, the one that waits longest first.
	waiting *list.List
	// mostLines is how many lines the header of a request may have.
	mostLines        int
	refused, evicted atomic.Int64
}

func newConns(limits Limits, trusted func(netip.Addr) bool) *conns {
	// The first line is the request's, the last one is empty.
	return &conns{trusted: trusted, share: share.New[Client](int64(limits.Connections)), waiting: list.New(), mostLines: limits.HeaderFields + 2}
}

// listener admits connections before the server has spent anything on them.
type listener struct {
	net.Listener
	conns *conns
}

// Accept returns the next connection that there is room for. It closes the others.
func (l *listener) Accept() (net.Conn, error) {
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c := l.conns.admit(raw); c != nil {
			return c, nil
		}
		_ = raw.Close()
	}
}

// conn is one connection. It waits from its opening and from the end of each answer until a whole request is there.
type conn struct {
	net.Conn
	conns   *conns
	peer    netip.Addr
	client  Client
	request atomic.Int32
	lines   lineCount
	// place is where it stands among those that wait, nil while it does not. The lock of conns guards it, and closed.
	place  *list.Element
	closed bool
}

func (c *conns) admit(raw net.Conn) *conn {
	opened := &conn{Conn: raw, conns: c, peer: addressOf(raw.RemoteAddr())}
	if !c.trusted(opened.peer) {
		opened.client = ClientOf(opened.peer)
	}
	if !c.share.Take(opened.client, 1) {
		if c.share.Free() > 0 || !c.evict() || !c.share.Take(opened.client, 1) {
			c.refused.Add(1)
			return nil
		}
	}
	// The first request is due from the opening on.
	opened.request.Store(inHeader)
	opened.wait()
	return opened
}

// evict closes the connection that waits longest. It returns false when none waits.
func (c *conns) evict() bool {
	c.mu.Lock()
	first := c.waiting.Front()
	if first == nil {
		c.mu.Unlock()
		return false
	}
	victim, _ := first.Value.(*conn)
	c.mu.Unlock()
	c.evicted.Add(1)
	_ = victim.Close()
	return true
}

// wait puts the connection last among those that wait.
func (c *conn) wait() {
	c.conns.mu.Lock()
	defer c.conns.mu.Unlock()
	switch {
	case c.closed:
	case c.place != nil:
		c.conns.waiting.MoveToBack(c.place)
	default:
		c.place = c.conns.waiting.PushBack(c)
	}
}

// busy takes the connection out of those that wait: the server has all that it needs for an answer.
func (c *conn) busy() {
	c.conns.mu.Lock()
	defer c.conns.mu.Unlock()
	c.leave()
}

func (c *conn) leave() {
	if c.place != nil {
		c.conns.waiting.Remove(c.place)
		c.place = nil
	}
}

// Read begins the wait again with the first byte of a request: before it, the connection was idle, which is no fault of its client's.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n == 0 || c.request.Load() == inBody {
		return n, err
	}
	if c.request.CompareAndSwap(betweenRequests, inHeader) {
		c.lines = lineCount{}
		c.wait()
	}
	if c.lines.add(p[:n]) > c.conns.mostLines {
		return 0, errTooManyFields
	}
	return n, err
}

// What a connection is in, as its next byte tells.
const (
	betweenRequests = iota
	inHeader
	inBody
)

var errTooManyFields = errors.New("the request has too many header fields")

// lineCount counts lines up to the empty one that ends the header. Short fields would take many times their bytes in memory.
type lineCount struct {
	lines        int
	empty, ended bool
}

func (l *lineCount) add(text []byte) int {
	for !l.ended {
		at := bytes.IndexByte(text, '\n')
		rest := text
		if at >= 0 {
			rest = text[:at]
		}
		if len(rest) > 1 || len(rest) == 1 && rest[0] != '\r' {
			l.empty = false
		}
		if at < 0 {
			break
		}
		l.ended = l.empty && l.lines > 0
		l.lines, l.empty, text = l.lines+1, true, text[at+1:]
	}
	return l.lines
}

// Close gives the connection's place back, once.
func (c *conn) Close() error {
	err := c.Conn.Close()
	c.conns.mu.Lock()
	first := !c.closed
	c.closed = true
	c.leave()
	c.conns.mu.Unlock()
	if first {
		c.conns.share.Give(c.client, 1)
	}
	return err
}

// addressOf is the IP address of a peer, and the zero address where it has none.
func addressOf(address net.Addr) netip.Addr {
	if tcp, ok := address.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}
