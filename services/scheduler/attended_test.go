package scheduler_test

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// missing is a log that counts the lines about a service that no process runs.
type missing struct {
	slog.Handler
	service string
	lines   *atomic.Int32
}

func (m missing) Enabled(context.Context, slog.Level) bool { return true }
func (m missing) WithAttrs([]slog.Attr) slog.Handler       { return m }
func (m missing) WithGroup(string) slog.Handler            { return m }

func (m missing) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "missing" && a.Value.String() == m.service {
			m.lines.Add(1)
		}
		return true
	})
	return nil
}

// TestMessagesThatNobodyTakes has a run due while no syncer runs: the scheduler warns until one does.
func TestMessagesThatNobodyTakes(t *testing.T) {
	t.Parallel()
	f := prepare(t)
	log := missing{service: "syncer", lines: &atomic.Int32{}}
	providers := map[string]contracts.Provider{"shop": empty{}}
	f.startScheduler(t, providers, func(c *platform.Config) {
		c.Control.Housekeeping.Attended, c.Log = 20*time.Millisecond, slog.New(log)
	})
	f.awaitProviders(t, []map[string]contracts.Provider{providers})
	shop := f.mustCreate(t, newShop("main"))
	await(t, "two warnings", func() bool { return log.lines.Load() > 1 })
	f.startSyncer(t, providers)
	await(t, "the run to close", func() bool { return f.closedRuns(t, shop.ID) > 0 })
	// What was asked before it answered may be told of still.
	before := int32(-1)
	await(t, "the end of the warnings", func() bool {
		quiet := before == log.lines.Load()
		before = log.lines.Load()
		integration := f.mustCreate(t, newShop("shop-"+uuid.NewString()))
		await(t, "another run to close", func() bool { return f.closedRuns(t, integration.ID) > 0 })
		return quiet && before == log.lines.Load()
	})
}
