// Package cable leads a test's connections to a server, and can cut them, lead them elsewhere or silence them.
package cable

import (
	"context"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// Cable listens at an address of its own and forwards to a server, until its test ends.
type Cable struct {
	// URL is the server's with the address of the cable.
	URL    string
	ctx    context.Context //nolint:containedctx // the test's
	mu     sync.Mutex
	target string
	isCut  bool
	isDead bool
	links  map[*link]bool
}

// link is one connection, and the one that it is forwarded by; nil for one that leads nowhere.
type link struct {
	near, far net.Conn
	silent    chan struct{}
	once      sync.Once
}

// New leads to the server of a URL.
func New(t testing.TB, server string) *Cable {
	t.Helper()
	parsed, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &Cable{ctx: t.Context(), target: parsed.Host, links: map[*link]bool{}}
	parsed.Host = listener.Addr().String()
	c.URL = parsed.String()
	t.Cleanup(func() {
		_ = listener.Close()
		c.Cut()
	})
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go c.join(conn)
		}
	}()
	return c
}

// Cut ends all connections, and refuses new ones until Mend.
func (c *Cable) Cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.isCut = true
	for l := range c.links {
		l.close()
	}
}

// Freeze keeps the open connections as they are, and forwards nothing more on them, ever: neither end is told, and what
// either sends is taken and thrown away. So does a host that vanishes behind a proxy. New connections work.
func (c *Cable) Freeze() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for l := range c.links {
		l.silence()
	}
}

// FreezeAll is Freeze, and connections that are made until Mend are accepted and lead nowhere.
func (c *Cable) FreezeAll() {
	c.mu.Lock()
	c.isDead = true
	c.mu.Unlock()
	c.Freeze()
}

// Mend has new connections work again.
func (c *Cable) Mend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.isCut, c.isDead = false, false
}

// Turn leads new connections to another server.
func (c *Cable) Turn(server string) {
	parsed, err := url.Parse(server)
	if err != nil {
		panic(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.target = parsed.Host
}

func (c *Cable) join(conn net.Conn) {
	l := &link{near: conn, silent: make(chan struct{})}
	if target := c.where(); target != "" {
		far, err := (&net.Dialer{}).DialContext(c.ctx, "tcp", target)
		if err != nil {
			_ = conn.Close()
			return
		}
		l.far = far
	}
	if !c.add(l) {
		return
	}
	defer c.remove(l)
	if l.far == nil {
		_, _ = io.Copy(io.Discard, l.near)
		return
	}
	var both sync.WaitGroup
	both.Go(func() { l.forward(l.far, l.near) })
	both.Go(func() { l.forward(l.near, l.far) })
	both.Wait()
}

// where is the server's address, "" while connections lead nowhere.
func (c *Cable) where() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isDead {
		return ""
	}
	return c.target
}

func (c *Cable) add(l *link) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isCut {
		l.close()
		return false
	}
	if c.isDead {
		l.silence()
	}
	c.links[l] = true
	return true
}

func (c *Cable) remove(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l.close()
	delete(c.links, l)
}

// forward copies until an end closes, which ends the other too, unless the link is silent by then.
func (l *link) forward(to, from net.Conn) {
	_, _ = io.Copy(heard{l, to}, from)
	select {
	case <-l.silent:
		return
	default:
		l.close()
	}
}

// heard takes what is sent, and forwards it until the link is silent.
type heard struct {
	link *link
	to   net.Conn
}

func (h heard) Write(p []byte) (int, error) {
	select {
	case <-h.link.silent:
		return len(p), nil
	default:
		return h.to.Write(p)
	}
}

func (l *link) silence() { l.once.Do(func() { close(l.silent) }) }

func (l *link) close() {
	_ = l.near.Close()
	if l.far != nil {
		_ = l.far.Close()
	}
}
