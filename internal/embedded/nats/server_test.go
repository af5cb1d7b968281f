package natsserver_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tributaryhq/tributary/internal/embedded/dirlock"
	natsserver "github.com/tributaryhq/tributary/internal/embedded/nats"
	"github.com/tributaryhq/tributary/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

func mustStart(t *testing.T, opts natsserver.Options) *natsserver.Server {
	t.Helper()
	s, err := natsserver.Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

func mustJetStream(t *testing.T, conn *nats.Conn, err error) jetstream.JetStream {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func TestStreamsOutliveTheServer(t *testing.T) {
	t.Parallel()
	for _, sync := range []bool{false, true} {
		opts := natsserver.Options{Dir: t.TempDir(), SyncAlways: sync}
		first := mustStart(t, opts)
		conn, err := first.Connect()
		js := mustJetStream(t, conn, err)
		if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
			t.Fatal(err)
		}
		if _, err := js.Publish(t.Context(), "s", []byte("kept")); err != nil {
			t.Fatal(err)
		}
		conn.Close()
		first.Stop()

		conn, err = mustStart(t, opts).Connect()
		stream, err := mustJetStream(t, conn, err).Stream(t.Context(), "S")
		if err != nil {
			t.Fatal(err)
		}
		msg, err := stream.GetMsg(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		if string(msg.Data) != "kept" {
			t.Errorf("sync=%v: got %q", sync, msg.Data)
		}
	}
}

func TestListensOnlyWhenAsked(t *testing.T) {
	t.Parallel()
	if url := mustStart(t, natsserver.Options{Dir: t.TempDir()}).URL(); url != "" {
		t.Errorf("without a port: URL %q", url)
	}
	s := mustStart(t, natsserver.Options{Dir: t.TempDir(), Port: natsserver.RandomPort})
	conn, err := nats.Connect(s.URL(), nats.Timeout(10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestStartSaysWhyItCannot(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, opts := range map[string]natsserver.Options{
		"port taken":      {Dir: dir, Port: taken.Addr().(*net.TCPAddr).Port},
		"dir is a file":   {Dir: file},
		"dir within file": {Dir: filepath.Join(file, "x")},
	} {
		if s, err := natsserver.Start(opts); err == nil {
			s.Stop()
			t.Errorf("%s: started", name)
		}
	}
	mustStart(t, natsserver.Options{Dir: dir}) // the refused start has let go of the folder
}

func TestSecondServerInOneFolderIsRefused(t *testing.T) {
	t.Parallel()
	opts := natsserver.Options{Dir: t.TempDir()}
	mustStart(t, opts)
	if _, err := natsserver.Start(opts); !errors.Is(err, dirlock.ErrHeld) {
		t.Fatalf("got %v, want ErrHeld", err)
	}
}

func TestStopTwice(t *testing.T) {
	t.Parallel()
	s := mustStart(t, natsserver.Options{Dir: t.TempDir()})
	s.Stop()
	s.Stop()
	if conn, err := s.Connect(); err == nil {
		conn.Close()
		t.Error("connected to a stopped server")
	}
}
