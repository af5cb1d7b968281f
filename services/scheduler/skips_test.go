package scheduler_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/platform"
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

// TestTheReasonsOfSkipsStay has handlers and an operator skip items. Their reasons are told while the run is open, and once it is closed or cancelled.
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

// TestTheReasonOfASkipTravels from a handler to the API, through all services.
func TestTheReasonOfASkipTravels(t *testing.T) {
	t.Parallel()
	f := start(t)
	config := platform.Defaults()
	config.NATS, config.Pool, config.Ring, config.Providers = f.nc, f.pool, testRing(t), map[string]contracts.Provider{"feed": feed{}}
	config.Handlers = map[string][]itemworker.ItemHandler{contracts.EventType(order{}): {
		func(_ context.Context, _ *contracts.Integration, payload []byte) error {
			if string(payload) == `{"n":0}` {
				return nil
			}
			return contracts.Skip("not ours: token=4242")
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
	var id string
	await(t, "a run", func() bool {
		page, err := f.Runs(t.Context(), api.ListRuns{Integration: "orders"})
		if err != nil || len(page.Runs) == 0 {
			return false
		}
		id = page.Runs[0].ID
		return true
	})
	closed := f.awaitRun(t, id, func(r api.Run) bool { return !r.Open() })
	if diff := cmp.Diff([]api.SkipReason{{Reason: "not ours: token=[REDACTED]", Items: 2}}, closed.SkipReasons); diff != "" || closed.Skipped != 2 {
		t.Errorf("%d items were skipped (-want +got):\n%s", closed.Skipped, diff)
	}
}
