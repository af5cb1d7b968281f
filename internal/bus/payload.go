package bus

import (
	"bytes"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// violation is the last line of a broker that was sent a message larger than it accepts. A limit that is lowered by a reload is not announced to clients, so that this can happen.
const violation = "-ERR 'Maximum Payload Violation'\r\n"

// holdFor is how long the beginning of a violation is held back, to see whether it is one: much longer than the broker takes to end the connection.
const holdFor = time.Second

// surviveViolations has a connection come back that the broker has ended over the size of a message. The client closes for good when it reads that line; without the line it connects again
// as after any other break, and learns the new limit. Where the client begins TLS the line can't be seen, see [secured].
func surviveViolations(o *nats.Options) error {
	if o.InProcessServer != nil {
		o.InProcessServer = inProcess{o.InProcessServer}
		return nil
	}
	inner := o.CustomDialer
	if inner == nil {
		inner = &net.Dialer{Timeout: o.Timeout}
	}
	inner = secure(o, inner)
	if d, is := inner.(*secured); is {
		o.CustomDialer = securedDialer{dialer{inner}, d}
		return nil
	}
	o.CustomDialer = dialer{inner}
	return nil
}

// survivesViolations reports whether [surviveViolations] has been at work on options.
func survivesViolations(o *nats.Options) bool {
	switch o.CustomDialer.(type) {
	case dialer, securedDialer:
		return true
	}
	_, is := o.InProcessServer.(inProcess)
	return is
}

type inProcess struct{ inner nats.InProcessConnProvider }

func (p inProcess) InProcessConn() (net.Conn, error) {
	conn, err := p.inner.InProcessConn()
	return tolerant{conn}, err
}

type dialer struct{ inner nats.CustomDialer }

func (d dialer) Dial(network, address string) (net.Conn, error) {
	conn, err := d.inner.Dial(network, address)
	if err != nil {
		return nil, err
	}
	return tolerant{conn}, nil
}

// securedDialer is a dialer that begins TLS.
type securedDialer struct {
	dialer
	*secured
}

// Dial is the outer dialer's.
func (d securedDialer) Dial(network, address string) (net.Conn, error) {
	return d.dialer.Dial(network, address)
}

// tolerant is a connection that does not pass a violation on when it is the last that comes.
type tolerant struct{ net.Conn }

func (c tolerant) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	for err == nil && n < len(p) && mayBeViolation(p[:n]) {
		var more int
		_ = c.SetReadDeadline(time.Now().Add(holdFor))
		more, err = c.Conn.Read(p[n:])
		_ = c.SetReadDeadline(time.Time{})
		n += more
		if isTimeout(err) {
			// It is part of a message.
			return n, nil
		}
	}
	if err != nil && bytes.HasSuffix(p[:n], []byte(violation)) {
		n -= len(violation)
	}
	if n > 0 {
		// The error comes again with the next read.
		return n, nil
	}
	return n, err
}

// mayBeViolation reports whether what was read ends with a violation or with its beginning.
func mayBeViolation(read []byte) bool {
	for n := len("-ERR "); n <= min(len(read), len(violation)); n++ {
		if string(read[len(read)-n:]) == violation[:n] {
			return true
		}
	}
	return false
}

func isTimeout(err error) bool {
	network, ok := err.(net.Error) //nolint:errorlint // the connection's own error
	return ok && network.Timeout()
}

// limit remembers how large messages may be, and logs when that has changed.
type limit struct{ bytes atomic.Int64 }

func (l *limit) learn(log *slog.Logger, nc *nats.Conn) {
	now := nc.MaxPayload()
	if before := l.bytes.Swap(now); before != 0 && before != now {
		log.Warn("NATS accepts messages of another size now", "bytes", now, "before", before)
	}
}
