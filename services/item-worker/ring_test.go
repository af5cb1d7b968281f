package itemworker_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/secret"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// counter counts the lines of a log by their message.
type counter struct {
	slog.Handler
	mu    *sync.Mutex
	lines map[string]int
}

func (c counter) Enabled(context.Context, slog.Level) bool { return true }
func (c counter) WithAttrs([]slog.Attr) slog.Handler       { return c }
func (c counter) WithGroup(string) slog.Handler            { return c }

func (c counter) Handle(_ context.Context, r slog.Record) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lines[r.Message]++
	return nil
}

func (c counter) count(message string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lines[message]
}

// TestAnotherRing runs a worker whose key ring opens no credentials: that is told at its start and once for an
// integration, and the items wait until a worker comes that has the right one.
func TestAnotherRing(t *testing.T) {
	t.Parallel()
	handler := func(context.Context, *contracts.Integration, []byte) error { return nil }
	log := counter{mu: &sync.Mutex{}, lines: map[string]int{}}
	w := newWorld(t, handler, func(*platform.Config) {})
	wrong := w.beside(t, handler, func(c *platform.Config) {
		ring, err := secret.ParseRing("other:MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=")
		if err != nil {
			t.Fatal(err)
		}
		c.Ring, c.Log = ring, slog.New(log)
		c.ItemWorker.Waits.Least, c.ItemWorker.Waits.LeastMost = 10*time.Millisecond, 10*time.Millisecond
	})
	batch := with(w.open(t, 1), `"a"`, `"b"`)
	stop := wrong.start(t)
	w.send(t, batch)
	await(t, "the items to wait", func() bool {
		return len(w.retries(t, batch)) > 0 || log.count("an integration can't be loaded; its items wait") > 0
	})
	await(t, "the start to be told of", func() bool {
		return log.count("credentials can't be opened; what needs them waits") == 1
	})
	stop()
	if n := log.count("an integration can't be loaded; its items wait"); n != 1 {
		t.Errorf("%d lines tell of the integration", n)
	}
	w.start(t)
	await(t, "the items to be done", func() bool { return w.called(`"a"`) == 1 && w.called(`"b"`) == 1 })
}
