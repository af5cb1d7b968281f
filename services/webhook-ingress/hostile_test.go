package webhookingress_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// What is too large is refused while it is read, and before anything is computed over it.
func TestTooLarge(t *testing.T) {
	f := newFixture(t)
	f.ready()
	before := f.verified.Load()
	exact := bytes.Repeat([]byte("x"), 1<<20)
	over := append(bytes.Clone(exact), 'x')
	if got := f.do(f.request("signed/one/webhook", "announced", key, over)); got.code != http.StatusRequestEntityTooLarge {
		t.Errorf("announced: %d", got.code)
	}
	chunked := f.request("signed/one/webhook", "chunked", key, over)
	chunked.Body, chunked.ContentLength = io.NopCloser(bytes.NewReader(over)), -1
	if got := f.do(chunked); got.code != http.StatusRequestEntityTooLarge {
		t.Errorf("chunked: %d", got.code)
	}
	if n := f.verified.Load(); n != before {
		t.Errorf("%d signatures were computed over what is too large", n-before)
	}
}

// A body of exactly the limit goes through NATS, headers and all.
func TestLargest(t *testing.T) {
	f := newFixture(t, func(f *fixture) { f.backlog = 16 << 20 })
	f.ready()
	exact := bytes.Repeat([]byte("x"), 1<<20)
	chunked := f.request("signed/one/webhook", "chunked", key, exact)
	chunked.Body, chunked.ContentLength = io.NopCloser(bytes.NewReader(exact)), -1
	chunked.Header.Set("X-Padding", strings.Repeat("p", 20<<10))
	if got := f.do(chunked); got.code != 200 || got.status != "queued" {
		t.Errorf("%d %q", got.code, got.status)
	}
	all := f.stored()
	if last := all[len(all)-1]; !bytes.Equal(last.GetBody(), exact) {
		t.Errorf("%d bytes were stored", len(last.GetBody()))
	}
}

// A compressed body is verified and stored as it came: what it might grow to is nobody's trouble.
func TestCompressionBomb(t *testing.T) {
	f := newFixture(t)
	f.ready()
	var bomb bytes.Buffer
	w := gzip.NewWriter(&bomb)
	_, err := w.Write(make([]byte, 100<<20))
	f.must(err)
	f.must(w.Close())
	req := f.request("signed/one/webhook", "bomb", key, bomb.Bytes())
	req.Header.Set("Content-Encoding", "gzip")
	if got := f.do(req); got.code != 200 {
		t.Errorf("%d %q", got.code, got.status)
	}
	all := f.stored()
	if last := all[len(all)-1]; !bytes.Equal(last.GetBody(), bomb.Bytes()) {
		t.Error("it was not stored as it came")
	}
}

// Who is slow, or sends too many headers, is cut off, and holds nobody up.
func TestSlowAndLong(t *testing.T) {
	f := newFixture(t, func(f *fixture) {
		f.settings.HeaderTimeout, f.settings.BodyTimeout = 5*time.Second, 5*time.Second
	})
	f.ready()
	host := strings.TrimSuffix(strings.TrimPrefix(f.url, "http://"), "/integrations/")
	cases := map[string]struct{ text, want string }{
		"headers that never end":    {"POST /integrations/signed/one/webhook HTTP/1.1\r\nHost: x\r\nX-A: ", ""},
		"a body that never comes":   {"POST /integrations/signed/one/webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{", "HTTP/1.1 400 Bad Request"},
		"a chunk that never comes":  {"POST /integrations/signed/one/webhook HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "HTTP/1.1 400 Bad Request"},
		"headers without end":       {"POST / HTTP/1.1\r\nHost: x\r\nX-A: " + strings.Repeat("a", 64<<10) + "\r\n\r\n", "HTTP/1.1 431 Request Header Fields Too Large"},
		"two lengths":               {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "HTTP/1.1 400 Bad Request"},
		"a length and chunks":       {"GET /integrations/signed/one/webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: gzip\r\n\r\n", "HTTP/1.1 501 Not Implemented"},
		"a header that breaks rows": {"POST / HTTP/1.1\r\nHost: x\r\nX-A: a\x00b\r\n\r\n", "HTTP/1.1 400 Bad Request"},
	}
	// All at first, so that their timeouts run side by side.
	conns := map[string]net.Conn{}
	for name, c := range cases {
		conn, err := net.Dial("tcp", host)
		f.must(err)
		t.Cleanup(func() { _ = conn.Close() })
		// What the server has refused it may not read to its end.
		_, _ = io.WriteString(conn, c.text)
		conns[name] = conn
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			conn := conns[name]
			if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(conn).ReadString('\n')
			if strings.TrimSpace(line) != c.want {
				t.Errorf("answered %q (%v), want %q", line, err, c.want)
			}
		})
	}
	if got := f.send("signed/one/webhook", "after", key, "{}"); got.code != 200 {
		t.Errorf("after them: %d %q", got.code, got.status)
	}
}

// Header names have no case in HTTP.
func TestHeaderCase(t *testing.T) {
	f := newFixture(t)
	f.ready()
	host := strings.TrimSuffix(strings.TrimPrefix(f.url, "http://"), "/integrations/")
	for i, name := range []string{"x-hub-signature-256", "X-HUB-SIGNATURE-256", "x-Hub-sIGNATURE-256"} {
		conn, err := net.Dial("tcp", host)
		f.must(err)
		_, err = fmt.Fprintf(conn, "POST /integrations/signed/one/webhook HTTP/1.1\r\nHost: x\r\nx-delivery: case-%d\r\n%s: %s\r\nContent-Length: 2\r\n\r\n{}", i, name, sign(key, []byte("{}")))
		f.must(err)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		f.must(err)
		if resp.StatusCode != 200 {
			t.Errorf("%s: %s", name, resp.Status)
		}
		f.must(resp.Body.Close())
		f.must(conn.Close())
	}
}
