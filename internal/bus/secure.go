package bus

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// longestInfo bounds the first line of a server, which names its cluster's servers.
const longestInfo = 1 << 20

var errInfo = errors.New("the server does not begin as NATS does")

// secured begins TLS itself with servers whose URL says tls, so that [tolerant] sees what they send. The client would begin it outside of the connection that it is given. What
// secured does not know to do is left to the client: TLS is begun by one of the two, never by none.
type secured struct {
	inner   nats.CustomDialer
	config  *tls.Config
	timeout time.Duration
	// servers are the addresses in the URLs. Those that a cluster names later have no names to check certificates by.
	servers map[string]bool
	// begun is whether TLS has begun on the newest connection. The client has one at a time.
	begun atomic.Bool
}

// secure returns the inner dialer where there is nothing for secured to do.
func secure(o *nats.Options, inner nats.CustomDialer) nats.CustomDialer {
	if o.TLSCertCB != nil || o.RootCAsCB != nil || o.TLSHandshakeFirst {
		return inner
	}
	servers := map[string]bool{}
	for _, server := range o.Servers {
		u, err := url.Parse(server)
		if err != nil || u.Scheme != "tls" {
			return inner
		}
		if u.Port() == "" {
			u.Host = net.JoinHostPort(u.Hostname(), strconv.Itoa(nats.DefaultPort))
		}
		servers[u.Host] = true
	}
	// The address keeps its name, by which the certificate is checked. The dialer looks it up.
	o.SkipHostLookup = true
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.TLSConfig != nil {
		config = o.TLSConfig.Clone()
	}
	return &secured{inner: inner, config: config, timeout: o.Timeout, servers: servers}
}

// SkipTLSHandshake tells the client that TLS has begun.
func (d *secured) SkipTLSHandshake() bool { return d.begun.Load() }

func (d *secured) Dial(network, address string) (net.Conn, error) {
	d.begun.Store(false)
	conn, err := d.inner.Dial(network, address)
	if err != nil || !d.servers[address] {
		return conn, err
	}
	_ = conn.SetDeadline(time.Now().Add(d.timeout))
	begun, err := d.begin(conn, address)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	_ = conn.SetDeadline(time.Time{})
	return begun, nil
}

// begin reads the server's first line, which is in clear, and begins TLS if the line offers it. The client reads the line again: it refuses a server that offers none.
func (d *secured) begin(conn net.Conn, address string) (net.Conn, error) {
	line, err := readInfo(conn)
	if err != nil {
		return nil, err
	}
	var offers struct {
		Required  bool `json:"tls_required"`
		Available bool `json:"tls_available"`
	}
	rest, isInfo := bytes.CutPrefix(line, []byte("INFO "))
	if !isInfo || json.Unmarshal(rest, &offers) != nil {
		return nil, errInfo
	}
	if !offers.Required && !offers.Available {
		return &replayed{Conn: conn, first: line}, nil
	}
	config := d.config.Clone()
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(address)
	}
	ctx, cancel := context.WithTimeout(context.Background(), d.timeout)
	defer cancel()
	safe := tls.Client(conn, config)
	if err := safe.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("%w: %w", nats.ErrTLS, err)
	}
	d.begun.Store(true)
	return &replayed{Conn: safe, first: line}, nil
}

// readInfo reads up to the end of a line. Nothing may follow it: it would be in clear, and be taken for what came under TLS.
func readInfo(conn net.Conn) ([]byte, error) {
	line, part := []byte{}, make([]byte, 4<<10)
	for len(line) < longestInfo {
		n, err := conn.Read(part)
		line = append(line, part[:n]...)
		if end := bytes.IndexByte(line, '\n'); end >= 0 {
			if end != len(line)-1 {
				return nil, errInfo
			}
			return line, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, errInfo
}

// replayed is a connection that gives first what was read from it before.
type replayed struct {
	net.Conn
	first []byte
}

func (c *replayed) Read(p []byte) (int, error) {
	if len(c.first) > 0 {
		n := copy(p, c.first)
		c.first = c.first[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}
