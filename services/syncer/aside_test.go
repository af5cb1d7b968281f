package syncer_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// TestASmallRunBesideLargeOnes has large runs hold every slot of their provider, each in another way. A small run is
// enumerated beside them, and then they go on.
func TestASmallRunBesideLargeOnes(t *testing.T) {
	t.Parallel()
	handsOver := func(over <-chan struct{}) enumeration {
		return func(ctx context.Context, session contracts.SyncSession, _ string) error {
			for n := 0; ; n++ {
				select {
				case <-over:
					return nil
				default:
				}
				if err := session.Dispatch(ctx, entry{Text: "large"}, 1, strconv.Itoa(n)); err != nil {
					return err
				}
			}
		}
	}
	hangs := func(over <-chan struct{}) enumeration {
		return func(ctx context.Context, session contracts.SyncSession, method string) error {
			<-over
			return dispatches("a")(ctx, session, method)
		}
	}
	// No worker takes a batch in this test, so that a window of two batches stays full.
	for name, tt := range map[string]struct {
		large  func(over <-chan struct{}) enumeration
		window int
		goesOn bool
	}{
		"they hand over on and on": {large: handsOver, window: 1 << 30, goesOn: true},
		"they wait for workers":    {large: handsOver, window: 2},
		"they hang":                {large: hangs, window: 2, goesOn: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(c *platform.Config) {
				patientLinger(c)
				c.Syncer.Runs, c.Syncer.Turn, c.Syncer.BatchItems, c.Syncer.Window = 2, 10*time.Millisecond, 1, tt.window
			})
			over := make(chan struct{})
			var large []*postgres.Run
			for range 2 {
				run := w.open(t, tt.large(over))
				large = append(large, run)
				w.due(t, run, run.Wake)
				await(t, "a large run", func() bool { return w.called(run) == 1 })
			}
			w.wantTotal(t, w.enumerate(t, w.open(t, dispatches("a", "b"))), 2, 2, 0)
			close(over)
			if !tt.goesOn {
				return
			}
			for _, run := range large {
				w.awaitAck(t, run)
				if run = w.run(t, run.ID); run.State != "working" || run.Attempts != 1 || run.Items == 0 {
					t.Errorf("a large run is %s after %d attempts, with %d items (%s)", run.State, run.Attempts, run.Items, run.Error)
				}
			}
		})
	}
}
