package platform_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// hanging hands one number over and waits: for the end of its context if it heeds that, else for that of the test.
type hanging struct {
	numbers
	heeds bool
	calls *atomic.Int32
	ended <-chan struct{}
}

func (p hanging) Sync(ctx context.Context, _ *contracts.Integration, session contracts.SyncSession) error {
	p.calls.Add(1)
	if err := session.Dispatch(ctx, number{1}, 1, "1"); err != nil {
		return err
	}
	if p.heeds {
		<-ctx.Done()
		return ctx.Err()
	}
	<-p.ended
	return nil
}

// TestProviderThatHangs has enumerations end that come to nothing, also where the provider can't be stopped. What was handed over is worked off.
func TestProviderThatHangs(t *testing.T) {
	t.Parallel()
	for name, heeds := range map[string]bool{"heeds its context": true, "heeds nothing": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testEnded := make(chan struct{})
			provider := hanging{heeds: heeds, calls: &atomic.Int32{}, ended: testEnded}
			config := platform.Defaults()
			config.NATS, config.Pool = natstest.New(t).Connect(), pgtest.DB(t)
			config.Providers = map[string]contracts.Provider{"hanging": provider}
			config.Scheduler.Tick = 20 * time.Millisecond
			config.Syncer.Silence, config.Syncer.Grace = time.Second, 50*time.Millisecond
			config.Syncer.BatchItems = 1 // sent at once, and not left out as the last of a call that was stopped
			config.Syncer.Tries, config.Syncer.Backoff = 2, []time.Duration{10 * time.Millisecond}
			p, err := platform.New(t.Context(), config)
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- p.Run(ctx, platform.Services()...) }()
			defer func() {
				stop()
				close(testEnded)
				if err := <-ended; err != nil {
					t.Error(err)
				}
			}()
			now := time.Now()
			id := postgres.NewID()
			_, err = p.Store.IntegrationInsert(ctx, dbsqlc.IntegrationInsertParams{ID: id, Provider: "hanging", Name: "h", Metadata: []byte("{}"), NextSyncAt: &now, Now: now})
			if err != nil {
				t.Fatal(err)
			}
			run := awaitClosed(t, p, dbsqlc.RunListParams{IntegrationID: &id, Most: 1})
			if run.State != "failed" || run.Attempts != 2 || provider.calls.Load() != 2 || !strings.Contains(run.Error.String(), "neither handed an item over nor returned") {
				t.Errorf("the run is %s after attempt %d and %d calls: %q", run.State, run.Attempts, provider.calls.Load(), run.Error)
			}
			if run.Items != 1 || run.Done != 1 {
				t.Errorf("%d of %d items are done, want the one that was handed over", run.Done, run.Items)
			}
			row, err := p.Store.IntegrationGet(ctx, id)
			if err != nil || row.SyncCursor != nil {
				t.Errorf("the cursor is %v, %v", row.SyncCursor, err)
			}
		})
	}
}

// awaitClosed returns the newest run once it is closed.
func awaitClosed(t *testing.T, p *platform.Platform, params dbsqlc.RunListParams) *postgres.Run {
	t.Helper()
	for {
		runs, err := p.Store.Queries.RunList(t.Context(), params)
		if err != nil {
			t.Fatal(err)
		}
		if len(runs) == 1 && runs[0].ClosedAt != nil {
			return runs[0]
		}
		<-time.After(10 * time.Millisecond)
	}
}
