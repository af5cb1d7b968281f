package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tributaryhq/tributary/internal/wire"
)

// readyz asks a process how it is: the status, 0 when it can't be reached, and what it says.
func readyz(t *testing.T, address string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/readyz", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, ""
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, ""
	}
	return res.StatusCode, string(body)
}

// doctor is what the command prints.
func (w *world) doctor() string {
	w.t.Helper()
	command := exec.CommandContext(w.t.Context(), os.Args[0], "doctor")
	command.Env = append(os.Environ(), roleVariable+"=1", "DATABASE_URL="+w.database, "TRIBUTARY_NATS_URL="+w.natsURL, "TRIBUTARY_KEYS_FILE="+w.keys,
		"TRIBUTARY_DATA_DIR="+w.t.TempDir())
	// Its exit code is 1 when something is not well.
	out, _ := command.CombinedOutput()
	return string(out)
}

// A service is ready while its stores would take a write, tells strangers no more than that, and recovers by itself.
func TestReadyMeansThatStoresTakeWrites(t *testing.T) {
	w := newWorld(t)
	address := "127.0.0.1:" + freePort(t)
	p := w.startServing("scheduler", address)
	want := func(code int, says string) {
		t.Helper()
		var got int
		var body string
		w.await(fmt.Sprintf("%d %q of /readyz", code, says), func() bool {
			got, body = readyz(t, address)
			return got == code && strings.Contains(body, says)
		})
		for line := range strings.Lines(body) {
			if name, state, _ := strings.Cut(strings.TrimSpace(line), ": "); strings.ContainsAny(name, " @/=") || state != "ok" && state != "not ok" {
				t.Errorf("/readyz says %q", line)
			}
		}
	}
	want(http.StatusOK, "Postgres: ok")

	u, err := url.Parse(w.database)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(u.Path, "/")
	set := func(value string) {
		t.Helper()
		w.await("the setting to be taken", func() bool {
			_, err := w.pool.Exec(t.Context(), "begin read write; alter database "+name+" set default_transaction_read_only = "+value+"; commit")
			return err == nil
		})
		_, _ = w.pool.Exec(t.Context(), "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and pid <> pg_backend_pid()", name)
		w.pool.Reset()
	}
	set("on")
	want(http.StatusServiceUnavailable, "Postgres: not ok")
	w.await("doctor to say why", func() bool {
		return strings.Contains(w.doctor(), "FAIL  services  scheduler: ") && strings.Contains(w.doctor(), "read-only transaction")
	})
	// The first thing that it meets may be the end of its connections.
	w.await("the log to say why", func() bool { return strings.Contains(p.output.tail(), "read-only transaction") })
	set("off")
	want(http.StatusOK, "Postgres: ok")
	w.await("doctor to see that all is well", func() bool { return strings.Contains(w.doctor(), " is ready\n") })

	w.nats.Stop()
	want(http.StatusServiceUnavailable, "NATS: not ok")
	w.nats.Start()
	want(http.StatusOK, "NATS: ok")

	// One stream that is full is enough.
	js, err := jetstream.New(w.nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), wire.StreamSync)
	if err != nil {
		t.Fatal(err)
	}
	config := stream.CachedInfo().Config
	room := config
	config.Discard, config.MaxMsgs = jetstream.DiscardNew, 1
	if _, err := js.UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "tributary.sync.due.nobody.n", nil); err != nil {
		t.Fatal(err)
	}
	want(http.StatusServiceUnavailable, "NATS: not ok")
	w.await("the log to say why", func() bool {
		return strings.Contains(p.output.tail(), "TRIBUTARY_SYNC is full: it has 1 messages, as many as it may")
	})
	metrics, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(metrics.Body)
	_ = metrics.Body.Close()
	if err != nil || !strings.Contains(string(body), `tributary_ready{check="NATS"} 0`) {
		t.Errorf("the metrics do not tell: %v", err)
	}
	if _, err := js.UpdateStream(t.Context(), room); err != nil {
		t.Fatal(err)
	}
	want(http.StatusOK, "NATS: ok")
}
