package platform_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/providertest/upstream"
)

// clock is a time that only the test moves.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// newCached is a testbed whose time stands still, and what asks it for a path with an answer that is fresh for a minute
// and good for an hour.
func newCached(t *testing.T) (w *testbed, ask func(in *contracts.Integration, path string, header ...string) string,
	at *clock,
) {
	t.Helper()
	at = &clock{at: time.Now()}
	w = newWire(t, forgetful{}, func(_ *testbed, config *platform.Config) { config.Now = at.now })
	ask = func(in *contracts.Integration, path string, header ...string) string {
		ctx := contracts.WithCache(contracts.WithAttempts(t.Context(), 1),
			contracts.Cache{TTL: time.Minute, StaleOnError: time.Hour})
		return w.askCached(ctx, in, path, header...)
	}
	return w, ask, at
}

// askCached returns where the answer comes from, its status and the length of its body.
func (w *testbed) askCached(ctx context.Context, in *contracts.Integration, path string, header ...string) string {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.server.URL+path, nil)
	if err != nil {
		return err.Error()
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := in.HTTP().Do(req)
	if err != nil {
		return "error"
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(res.Header.Get(contracts.CacheHeader), " ", res.StatusCode, " ", len(body))
}

func TestCache(t *testing.T) {
	w, ask, at := newCached(t)
	in := w.integration("main", map[string]string{"key": "a"})
	other := w.integration("other", struct{}{})
	for _, step := range []struct {
		name, path, want string
		move             time.Duration
		fault            upstream.Fault
		sent             int
		in               *contracts.Integration
	}{
		{name: "first", path: "/document", want: "miss 200 22", sent: 1},
		{name: "again", path: "/document", want: "hit 200 22", move: time.Second, sent: 1},
		{name: "another integration", path: "/document", want: "miss 200 22", sent: 2, in: other},
		{name: "another query", path: "/document?a", want: "miss 200 22", sent: 3},
		{name: "no longer fresh", path: "/document", want: "revalidated 200 22", move: 2 * time.Minute, sent: 4},
		{name: "fresh again", path: "/document", want: "hit 200 22", sent: 4},
		{
			name: "the upstream fails", path: "/document", want: "stale 200 22", move: 2 * time.Minute,
			fault: upstream.ServerError(http.StatusBadGateway), sent: 5,
		},
		{
			name: "it fails again", path: "/document", want: "stale 200 22",
			fault: upstream.ServerError(http.StatusGatewayTimeout), sent: 6,
		},
		{
			name: "what it refuses is told", path: "/document", want: "miss 403 ",
			fault: upstream.ServerError(http.StatusForbidden), sent: 7,
		},
		{
			name: "too old to be stale", path: "/document", want: "miss 502", move: 2 * time.Hour,
			fault: upstream.ServerError(http.StatusBadGateway), sent: 8,
		},
		{name: "but it can be asked about", path: "/document", want: "revalidated 200 22", sent: 9},
		{name: "too large to be kept", path: "/json/1500000", want: "miss 200 ", sent: 10},
		{name: "too large, again", path: "/json/1500000", want: "miss 200 ", sent: 11},
		{
			name: "throttled", path: "/document", want: "stale 200 22", move: 2 * time.Minute,
			fault: upstream.TooManyRequests(time.Minute), sent: 12,
		},
		{name: "refused, as it was throttled", path: "/document", want: "stale 200 22", sent: 12},
	} {
		at.move(step.move)
		if step.fault.Name != "" {
			w.Next(1, step.fault)
		}
		from := in
		if step.in != nil {
			from = step.in
		}
		if got := ask(from, step.path); !strings.HasPrefix(got, step.want) {
			t.Errorf("%s: %q, want %q", step.name, got, step.want)
		}
		w.Calm()
		if n := len(w.requests()); n != step.sent {
			t.Fatalf("%s: the upstream was sent %d requests, want %d", step.name, n, step.sent)
		}
	}
	var plain bool
	if err := w.pool.QueryRow(t.Context(),
		`select bool_or(position('document'::bytea in sealed) > 0) from cached_answers`).Scan(&plain); err != nil ||
		plain {
		t.Errorf("an answer is stored in clear: %v, %v", plain, err)
	}
}

func TestCacheLeavesConditionsAlone(t *testing.T) {
	w, ask, _ := newCached(t)
	in := w.integration("main", struct{}{})
	ask(in, "/document")
	if got := ask(in, "/document", "If-None-Match", `"x"`); !strings.HasPrefix(got, " 200") {
		t.Errorf("a request with a condition of its own: %q", got)
	}
}

// New credentials see nothing of what the old ones were shown.
func TestCacheKeepsToCredentials(t *testing.T) {
	w, ask, _ := newCached(t)
	id := w.insert("main", map[string]string{"key": "a"}, struct{}{}, nil)
	ask(w.current(id), "/document")
	err := w.Store.InTx(t.Context(), func(tx *postgres.Tx) error {
		_, err := w.Store.PutCredentials(t.Context(), tx, id, encoded(t, map[string]string{"key": "a"}), 1,
			postgres.Access{At: time.Now()})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.pool.Exec(t.Context(), `update integrations set version = version + 1 where id = $1`,
		id); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ask(w.current(id), "/document") != "miss 200 22"; {
		if time.Now().After(deadline) {
			t.Fatal("new credentials get the old answer")
		}
	}
}

// Vary names the headers that matter, and only those.
func TestCacheVaries(t *testing.T) {
	w, ask, _ := newCached(t)
	in := w.integration("main", struct{}{})
	w.Always(upstream.Header("Vary", "Accept-Language, X-Who"))
	for _, step := range []struct{ want, language, trace string }{
		{"miss", "de", "1"}, {"hit", "de", "2"}, {"miss", "fr", "3"}, {"hit", "de", "4"}, {"hit", "fr", "5"},
	} {
		if got := ask(in, "/document", "Accept-Language", step.language, "X-Trace", step.trace); !strings.HasPrefix(got,
			step.want) {
			t.Errorf("%s %s: %q, want %s", step.language, step.trace, got, step.want)
		}
	}
	w.Calm()
	w.Always(upstream.Header("Vary", "*"))
	for range 2 {
		if got := ask(in, "/json/10"); !strings.HasPrefix(got, "miss") {
			t.Errorf("an answer that depends on anything: %q", got)
		}
	}
}

func TestCacheAsksOnceForAll(t *testing.T) {
	w, ask, _ := newCached(t)
	in := w.integration("main", struct{}{})
	var group sync.WaitGroup
	for range 32 {
		group.Go(func() {
			if got := ask(in, "/document"); !strings.HasSuffix(got, " 200 22") {
				t.Errorf("got %q", got)
			}
		})
	}
	group.Wait()
	if n := len(w.requests()); n != 1 {
		t.Errorf("the upstream was sent %d requests, want one", n)
	}
}
