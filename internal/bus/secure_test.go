package bus_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
)

func dialTLS(t *testing.T, url string, roots *x509.CertPool) (*nats.Conn, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	nc, err := bus.Dial(ctx, url, slog.New(slog.DiscardHandler), nats.Secure(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}))
	if err == nil {
		t.Cleanup(nc.Close)
	}
	return nc, err
}

// TestTLSIsRefused connects by a name that the certificate does not have, with other roots, and to servers that offer no TLS or say more than that in clear.
func TestTLSIsRefused(t *testing.T) {
	t.Parallel()
	server, roots := natstest.NewTLS(t)
	plain := natstest.NewListening(t)
	for name, test := range map[string]struct {
		url   string
		roots *x509.CertPool
		says  string
	}{
		"another name":   {strings.ReplaceAll(server.URL(), "localhost", "127.0.0.1"), roots, "certificate"},
		"other roots":    {server.URL(), x509.NewCertPool(), "certificate"},
		"no TLS":         {strings.ReplaceAll(plain.URL(), "nats:", "tls:"), roots, nats.ErrSecureConnWanted.Error()},
		"more than INFO": {says(t, "INFO {\"tls_required\":true}\r\nPING\r\n"), roots, "does not begin as NATS does"},
		"no INFO":        {says(t, "220 mail\r\n"), roots, "does not begin as NATS does"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := dialTLS(t, test.url, test.roots)
			if err == nil || !strings.Contains(err.Error(), test.says) || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want an error with %q", err, test.says)
			}
		})
	}
}

// says is the URL of a server that says something and then listens.
func says(t *testing.T, text string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
			_, _ = conn.Write([]byte(text))
		}
	}()
	return "tls://" + listener.Addr().String()
}

// TestTLSComesBack restarts a server with TLS, of which one client knows by a tls URL and one by a nats URL, where the client begins TLS by itself.
func TestTLSComesBack(t *testing.T) {
	t.Parallel()
	server, roots := natstest.NewTLS(t)
	var all []*nats.Conn
	for _, url := range []string{server.URL(), strings.ReplaceAll(server.URL(), "tls:", "nats:")} {
		nc, err := dialTLS(t, url, roots)
		if err != nil {
			t.Fatal(url, err)
		}
		all = append(all, nc)
	}
	server.Restart()
	for _, nc := range all {
		answered := make(chan struct{})
		for deadline := time.Now().Add(time.Minute); ; <-time.After(10 * time.Millisecond) {
			// It is disconnected for a while.
			if sub, err := nc.Subscribe("x", func(*nats.Msg) { close(answered) }); err == nil {
				_ = sub.AutoUnsubscribe(1)
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("it does not come back")
			}
		}
		for done := false; !done; {
			_ = nc.Publish("x", nil)
			select {
			case <-answered:
				done = true
			case <-t.Context().Done():
				t.Fatal("nothing comes")
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
}
