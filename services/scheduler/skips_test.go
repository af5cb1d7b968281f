package scheduler_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/wire"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/events"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
	itemworker "github.com/tributaryhq/tributary/services/item-worker"
)

// skips are the reasons that the API tells of a run.
func (s *stage) skips(t *testing.T, id uuid.UUID) []api.SkipReason {
	t.Helper()
	run, err := s.fixture.Run(t.Context(), id.String())
	if err != nil {
		t.Fatal(err)
	}
	return run.SkipReasons
}

// TestTheReasonsOfSkipsStay has handlers and an operator skip items. Their reasons are told while the run is open, and
// once it is closed or cancelled.
func TestTheReasonsOfSkipsStay(t *testing.T) {
	t.Parallel()
	s := newStage(t, asIs)
	ofHandlers := []api.SkipReason{{Reason: "a draft", Items: 2}, {Reason: "too old", Items: 1}}
	ofAll := []api.SkipReason{{Reason: "a draft", Items: 2}, {Reason: "gone upstream", Items: 1}, {Reason: "too old", Items: 1}}
	for name, end := range map[string]func(uuid.UUID, func()){
		"closed": func(_ uuid.UUID, total func()) { total() },
		"cancelled": func(integration uuid.UUID, _ func()) {
			s.command(t, events.VerbCancel, integration, &eventsv1.Command{})
		},
	} {
		integration := s.integration(t, "ledger", "")
		run := s.begin(t, integration, "incremental")
		s.batch(t, run, 0, came{state: skipped, reason: "a draft"}, came{state: done}, came{state: skipped, reason: "too old"},
			came{state: skipped, reason: "a draft"}, came{state: dead}, came{state: skipped})
		s.command(t, events.VerbSkip, integration, &eventsv1.Command{Item: s.deadIDs(t, run.ID)[0].String(), By: "ann", Reason: "gone upstream"})
		await(t, "the reasons to be seen", func() bool { return cmp.Equal(ofHandlers, s.skips(t, run.ID)) })
		end(integration, func() { s.total(t, run, 6, 1, "") })
		if closed := s.awaitClosed(t, run.ID); closed.Skipped != 5 {
			t.Errorf("%s: %d items are skipped, want 5", name, closed.Skipped)
		}
		if diff := cmp.Diff(ofAll, s.skips(t, run.ID)); diff != "" {
			t.Errorf("%s: reasons (-want +got):\n%s", name, diff)
		}
	}
}

// sync runs all services with a handler for the orders of a feed, and returns the first run.
func (f *fixture) sync(t *testing.T, handler itemworker.ItemHandler) (id string) {
	t.Helper()
	config := platform.Defaults()
	config.NATS, config.Pool, config.Ring, config.Providers = f.nc, f.pool, testRing(t), map[string]contracts.Provider{"feed": feed{}}
	config.ItemWorker.Backoff = []time.Duration{30 * time.Minute} // what fails waits until the test is over
	config.Handlers = map[string][]itemworker.ItemHandler{contracts.EventType(order{}): {handler}}
	built, err := platform.New(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	run(t, built, platform.Services()...)
	f.awaitProviders(t, []map[string]contracts.Provider{config.Providers})
	create := newShop("orders")
	create.Provider = "feed"
	f.mustCreate(t, create)
	await(t, "a run", func() bool {
		page, err := f.Runs(t.Context(), api.ListRuns{Integration: "orders"})
		if err != nil || len(page.Runs) == 0 {
			return false
		}
		id = page.Runs[0].ID
		return true
	})
	return id
}

// TestTheReasonOfASkipTravels from a handler to the API, through all services.
func TestTheReasonOfASkipTravels(t *testing.T) {
	t.Parallel()
	f := start(t)
	id := f.sync(t, func(_ context.Context, _ *contracts.Integration, payload []byte) error {
		if string(payload) == `{"n":0}` {
			return nil
		}
		return contracts.Skip("not ours: token=4242")
	})
	closed := f.awaitRun(t, id, func(r api.Run) bool { return !r.Open() })
	if diff := cmp.Diff([]api.SkipReason{{Reason: "not ours: token=[REDACTED]", Items: 2}}, closed.SkipReasons); diff != "" || closed.Skipped != 2 {
		t.Errorf("%d items were skipped (-want +got):\n%s", closed.Skipped, diff)
	}
}

// TestWhatWaitsIsListed has one item fail and one be deferred for an hour: the API tells why, until when, and how often
// they were tried.
func TestWhatWaitsIsListed(t *testing.T) {
	t.Parallel()
	f := start(t)
	began := time.Now().Truncate(time.Second)
	id := f.sync(t, func(_ context.Context, _ *contracts.Integration, payload []byte) error {
		switch string(payload) {
		case `{"n":0}`:
			return contracts.RetryAfter(time.Hour, errors.New("their maintenance"))
		case `{"n":1}`:
			return errors.New("refused: token=4242")
		}
		return nil
	})
	open := f.awaitRun(t, id, func(r api.Run) bool { return len(r.Waiting) == 2 && r.Progress.Done == 1 })
	failed, deferred := open.Waiting[0], open.Waiting[1]
	if failed.Tries != 1 || failed.Error != "refused: token=[REDACTED]" || failed.EventType != contracts.EventType(order{}) || failed.Until == nil {
		t.Errorf("the item that failed: %+v", failed)
	}
	if deferred.Tries != 0 || !strings.Contains(deferred.Error, "their maintenance") || deferred.Until == nil || deferred.Until.Before(began.Add(40*time.Minute)) {
		t.Errorf("the item that is deferred: %+v", deferred)
	}
	page, err := f.Runs(t.Context(), api.ListRuns{Integration: "orders"})
	if err != nil || page.Runs[0].Waiting != nil {
		t.Errorf("a list of runs tells of items: %+v, %v", page, err)
	}
}

// TestARunIsShownWithoutWhatCanNotBeRead has the entry of an item that waits be garbled: the run is shown all the same.
func TestARunIsShownWithoutWhatCanNotBeRead(t *testing.T) {
	t.Parallel()
	s := newStage(t, asIs)
	opened := s.begin(t, s.integration(t, "ledger", ""), "incremental")
	s.batch(t, opened, 0, came{state: retrying, reason: "no"}, came{state: done})
	id := opened.ID.String()
	s.awaitRun(t, id, func(r api.Run) bool { return len(r.Waiting) == 1 && r.Waiting[0].Error == "no" })
	js, err := s.nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	bucket, err := js.KeyValue(wire.BucketCheckpoints)
	if err != nil {
		t.Fatal(err)
	}
	key := checkpoint.Key{Run: id, Attempt: opened.Attempt, Index: checkpoint.First}
	if _, err := bucket.Put(key.String(), []byte{0xff}); err != nil {
		t.Fatal(err)
	}
	shown, err := s.fixture.Run(t.Context(), id)
	if err != nil || shown.Waiting != nil || shown.Progress.Retrying != 1 || shown.Progress.Done != 1 {
		t.Errorf("the run is shown as %+v, %v", shown, err)
	}
}
