package scheduler_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/pkg/contracts"
	itemworker "github.com/tributaryhq/tributary/services/item-worker"
)

type order struct {
	N int `json:"n"`
}

// feed has three orders.
type feed struct{ shop }

func (feed) Sync(ctx context.Context, _ *contracts.Integration, session contracts.SyncSession) error {
	for n := range 3 {
		if err := session.Dispatch(ctx, order{N: n}, "2026-01-31T00:00:00Z", ""); err != nil {
			return err
		}
	}
	return nil
}

func TestRunShowsProgress(t *testing.T) {
	t.Parallel()
	f := start(t)
	release := make(chan struct{})
	config := platform.Defaults()
	config.NATS, config.Pool, config.Ring, config.Providers = f.nc, f.pool, testRing(t), map[string]contracts.Provider{"feed": feed{}}
	config.Handlers = map[string][]itemworker.ItemHandler{contracts.EventType(order{}): {
		func(ctx context.Context, _ *contracts.Integration, _ []byte) error {
			select {
			case <-release:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		},
	}}
	built, err := platform.New(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	run(t, built, platform.Services()...)
	f.awaitProviders(t, []map[string]contracts.Provider{config.Providers})
	create := newShop("orders")
	create.Provider = "feed"
	f.mustCreate(t, create)
	page, err := f.Runs(t.Context(), api.ListRuns{Integration: "orders"})
	for err == nil && len(page.Runs) == 0 {
		page, err = f.Runs(t.Context(), api.ListRuns{Integration: "orders"})
	}
	if err != nil {
		t.Fatal(err)
	}
	id := page.Runs[0].ID
	open := f.awaitRun(t, id, func(r api.Run) bool { return r.Progress != nil && r.Progress.Total != nil })
	if *open.Progress.Total != 3 || open.Progress.Finished != 0 {
		progress, _ := json.Marshal(open.Progress)
		t.Errorf("progress while the handlers wait: %s", progress)
	}
	close(release)
	closed := f.awaitRun(t, id, func(r api.Run) bool { return !r.Open() })
	if closed.State != "succeeded" || closed.Items != 3 || closed.Done != 3 || closed.Progress != nil {
		t.Errorf("closed run: %+v", closed)
	}
	cursor, err := f.Cursor(t.Context(), "orders")
	if err != nil || string(cursor.Cursor) != `"2026-01-31T00:00:00Z"` {
		t.Errorf("cursor: %s, %v", cursor.Cursor, err)
	}
}

// awaitRun asks until a run is as it should be.
func (f *fixture) awaitRun(t *testing.T, id string, ok func(api.Run) bool) api.Run {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; <-time.After(10 * time.Millisecond) {
		run, err := f.Run(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if ok(run) {
			return run
		}
		if time.Now().After(deadline) {
			t.Fatalf("the run stays %+v", run)
		}
	}
}
