package platform_test

import (
	"context"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
)

// careless ignores what Dispatch returns. Its second item is one that is refused, or comes when late is closed, after Sync has returned.
type careless struct {
	numbers
	late       <-chan struct{}
	dispatched chan error
}

func (p careless) Sync(ctx context.Context, _ *contracts.Integration, session contracts.SyncSession) error {
	_ = session.Dispatch(ctx, number{1}, 1, "1")
	if p.late == nil {
		_ = session.Dispatch(ctx, number{2}, math.Inf(1), "2")
		return nil
	}
	go func() {
		<-p.late
		p.dispatched <- session.Dispatch(context.WithoutCancel(ctx), number{2}, 2, "2")
	}()
	return nil
}

// inHouse runs all services in this process until the test ends, and makes an integration of the one provider.
func inHouse(t *testing.T, config *platform.Config) (*platform.Platform, uuid.UUID) {
	t.Helper()
	if config.NATS == nil {
		config.NATS = natstest.New(t).Connect()
	}
	config.Pool = pgtest.DB(t)
	config.Scheduler.Tick = 20 * time.Millisecond
	p, err := platform.New(t.Context(), *config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx, platform.Services()...) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	id, now := postgres.NewID(), time.Now()
	for key := range config.Providers {
		_, err = p.Store.IntegrationInsert(ctx, dbsqlc.IntegrationInsertParams{ID: id, Provider: key, Name: key, Metadata: []byte("{}"), NextSyncAt: &now, Now: now})
		if err != nil {
			t.Fatal(err)
		}
	}
	return p, id
}

// TestLostItemsFailTheRun has a provider lose an item at different times: the run fails, also when it had succeeded before.
func TestLostItemsFailTheRun(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		// at is the point at which the provider dispatches late: "" for never, "closed" for after the run has closed.
		at, says string
	}{
		"the error is ignored":                     {"", "an item was not accepted"},
		"late, before the total is written":        {"syncer: before total", "after the function"},
		"late, while the run is about to close":    {"scheduler: before close", "after the function"},
		"late, after the run has closed with fame": {"closed", "after the function"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := platform.Defaults()
			late, dispatched := make(chan struct{}), make(chan error, 1)
			provider := careless{dispatched: dispatched}
			if tt.at != "" {
				provider.late = late
			}
			var once sync.Once
			strike := func() {
				once.Do(func() {
					close(late)
					if err := <-dispatched; err == nil {
						t.Error("a late call of Dispatch was accepted")
					}
				})
			}
			config.Crash = func(point string) {
				if point == tt.at {
					strike()
				}
			}
			config.Providers = map[string]contracts.Provider{"careless": provider}
			config.NATS = natstest.New(t).Connect()
			incidents := subscribe(t, config.NATS, events.IncidentOpened)
			p, id := inHouse(t, &config)
			params := dbsqlc.RunListParams{IntegrationID: &id, Most: 1}
			run := awaitClosed(t, p, params)
			if tt.at == "closed" {
				if run.State != "succeeded" {
					t.Errorf("the run is %s before it loses an item", run.State)
				}
				strike()
				run = awaitClosed(t, p, params)
			}
			if run.State != "failed" || run.Complete || !strings.Contains(run.Error.String(), tt.says) {
				t.Errorf("the run is %s (complete: %v): %q; want a failed one that says %q", run.State, run.Complete, run.Error, tt.says)
			}
			if run.Items != 1 || run.Done != 1 {
				t.Errorf("%d of %d items are done, want the one that was handed over", run.Done, run.Items)
			}
			if row, err := p.Store.IntegrationGet(t.Context(), id); err != nil || (row.SyncCursor != nil) != (tt.at == "closed") {
				t.Errorf("the cursor is %v, %v", row.SyncCursor, err)
			}
			if tt.at == "" {
				return
			}
			if _, err := incidents.NextMsg(time.Minute); err != nil {
				t.Errorf("no incident was opened: %v", err)
			}
		})
	}
}
