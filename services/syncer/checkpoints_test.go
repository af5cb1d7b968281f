package syncer_test

import (
	"context"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// unchecking is a feed whose check of a checkpoint does not return.
type unchecking struct {
	feed
	held chan struct{}
}

func (u unchecking) CheckCheckpoint(contracts.Checkpoint, time.Time) error {
	<-u.held
	return nil
}

// A check of a checkpoint that does not return is the provider's silence: it is left behind, and the enumeration is
// tried again.
func TestCheckThatDoesNotReturn(t *testing.T) {
	t.Parallel()
	held := make(chan struct{})
	t.Cleanup(func() { close(held) })
	w := newWorld(t, func(c *platform.Config) {
		listed, _ := c.Providers["feed"].(feed)
		c.Providers["feed"] = unchecking{feed: listed, held: held}
		c.Syncer.Silence, c.Syncer.Grace = 100*time.Millisecond, 100*time.Millisecond
	})
	run := w.open(t, func(ctx context.Context, session contracts.SyncSession, _ string) error {
		return session.Dispatch(ctx, map[string]any{"n": 1}, 7, "one")
	})
	run = w.enumerate(t, run)
	if run.State != "waiting" || run.Tries != 1 {
		t.Errorf("the run is %s after %d tries with the error %q", run.State, run.Tries, run.Error)
	}
}
