package upstream

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// ResetUnread resets the connection before the body of the request is read.
func ResetUnread() Fault {
	return Fault{"reset-unread", func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { reset(w) }}
}

// ResetRead reads the whole request and resets the connection, without having done anything.
func ResetRead() Fault {
	return Fault{"reset-read", func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = io.Copy(io.Discard, r.Body)
		reset(w)
	}}
}

// LoseAnswer does what the request asks for and resets the connection instead of answering: the client can't know.
func LoseAnswer() Fault {
	return Fault{"lose-answer", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		record(w, r, next)
		reset(w)
	}}
}

// Garbage answers with bytes that are no HTTP.
func Garbage() Fault {
	return Fault{"garbage", func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		onWire(w, r, 0, []byte("\x00\x01\xffSSH-2.0-not-a-web-server\r\n"))
	}}
}

// WrongLength says that the body is longer by off bytes than it is, or, below 0, shorter.
func WrongLength(off int) Fault {
	return Fault{"wrong-length", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		answer := record(w, r, next)
		onWire(w, r, 0, answer.head(answer.body.Len()+off), answer.body.Bytes())
	}}
}

// SlowHead sends the head of the answer a few bytes at a time, with a pause before each.
func SlowHead(pauses time.Duration) Fault {
	const size = 16
	return Fault{"slow-head", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		answer := record(w, r, next)
		head := answer.head(answer.body.Len())
		var pieces [][]byte
		for len(head) > size {
			pieces = append(pieces, head[:size])
			head = head[size:]
		}
		onWire(w, r, pauses, append(pieces, head, answer.body.Bytes())...)
	}}
}

// Listener resets connections before anything is read from them. It goes between a server and its listener:
//
//	server := httptest.NewUnstartedServer(handler)
//	refusing := &upstream.Listener{Listener: server.Listener}
//	server.Listener = refusing
type Listener struct {
	net.Listener
	refuse atomic.Int64
}

// Refuse resets the next n connections.
func (l *Listener) Refuse(n int) { l.refuse.Add(int64(n)) }

// Accept returns the next connection that is not refused.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil || l.refuse.Load() <= 0 {
			return conn, err
		}
		l.refuse.Add(-1)
		resetConn(conn)
	}
}

// head is the head of the answer as it goes over the wire.
func (a *answer) head(length int) []byte {
	var b bytes.Buffer
	_, _ = fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", a.status, http.StatusText(a.status))
	a.header.Set("Content-Length", fmt.Sprint(length))
	a.header.Set("Connection", "close")
	_ = a.header.Write(&b) // a buffer takes all
	b.WriteString("\r\n")
	return b.Bytes()
}

// onWire takes the connection over, sends the pieces as they are with a pause before each, and closes it.
func onWire(w http.ResponseWriter, r *http.Request, pauses time.Duration, pieces ...[]byte) {
	conn := hijack(w)
	defer func() { _ = conn.Close() }()
	for _, piece := range pieces {
		if pauses > 0 && !pause(r, pauses) {
			return
		}
		if _, err := conn.Write(piece); err != nil {
			return
		}
	}
}

func reset(w http.ResponseWriter) { resetConn(hijack(w)) }

// resetConn closes a connection so that the peer sees a reset, not an end.
func resetConn(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// hijack takes the connection from the server. Where that can't be, as inside of another fault that wants the whole answer, the connection is cut.
func hijack(w http.ResponseWriter) net.Conn {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	return conn
}
