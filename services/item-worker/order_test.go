package itemworker_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/pkg/contracts"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
	itemworker "github.com/tributaryhq/tributary/services/item-worker"
)

// keyed orders checkpoints as they say.
type keyed struct {
	shop
	held chan struct{}
	// asked counts the checkpoints that were to be ordered.
	asked *atomic.Int32
}

func newKeyed() keyed { return keyed{held: make(chan struct{}), asked: &atomic.Int32{}} }

func (k keyed) CheckpointKey(c contracts.Checkpoint) (string, error) {
	k.asked.Add(1)
	switch string(c) {
	case `"hang"`:
		<-k.held
		return "too late", nil
	case `"panic"`:
		panic("at the checkpoint")
	case `"refuse"`:
		return "", errors.New("no checkpoint")
	}
	return "key of " + string(c), nil
}

func (k keyed) ReduceCheckpoints(c []contracts.Checkpoint) (contracts.Cursor, error) {
	return k.shop.ReduceCheckpoints(c)
}

func (keyed) ReducesAssociatively() {}

func checkpoints(says ...string) []*eventsv1.Item {
	all := make([]*eventsv1.Item, len(says))
	for i, c := range says {
		all[i] = &eventsv1.Item{Index: int32(i), EventType: "thing", Checkpoint: []byte(c)}
	}
	return all
}

// A record whose checkpoint can't be ordered fails alone, and code that does not return is not called without end.
func TestOrderOfCheckpoints(t *testing.T) {
	t.Parallel()
	const again, end = eventsv1.OutcomeState_OUTCOME_STATE_RETRYING, eventsv1.OutcomeState_OUTCOME_STATE_DEAD
	for name, test := range map[string]struct {
		says   []string
		keys   map[int32]string
		failed map[int32]eventsv1.OutcomeState
		asked  int32
		took   time.Duration
	}{
		"all": {
			says: []string{"1", "", "3"}, keys: map[int32]string{0: "key of 1", 1: "", 2: "key of 3"}, asked: 2,
		},
		"some fail": {
			says: []string{"1", `"refuse"`, `"panic"`, "4"}, keys: map[int32]string{0: "key of 1", 3: "key of 4"},
			failed: map[int32]eventsv1.OutcomeState{1: end, 2: end}, asked: 4,
		},
		"two hang": {
			says: []string{`"hang"`, "2", `"hang"`}, keys: map[int32]string{1: "key of 2"},
			failed: map[int32]eventsv1.OutcomeState{0: again, 2: again}, asked: 3, took: 22 * time.Second,
		},
		"more hang": {
			says: []string{"1", `"hang"`, `"hang"`, `"hang"`, "5", `"hang"`}, keys: map[int32]string{0: "key of 1"},
			failed: map[int32]eventsv1.OutcomeState{1: again, 2: again, 3: again, 4: again, 5: again}, asked: 4, took: 33 * time.Second,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				provider, began := newKeyed(), time.Now()
				keys, failed := itemworker.Order(t.Context(), provider, itemworker.DefaultSettings(), checkpoints(test.says...))
				if took := time.Since(began); took != test.took {
					t.Errorf("it took %s, want %s", took, test.took)
				}
				if diff := cmp.Diff(test.keys, keys); diff != "" {
					t.Errorf("keys: %s", diff)
				}
				if !slices.Equal(slices.Sorted(maps.Keys(failed)), slices.Sorted(maps.Keys(test.failed))) {
					t.Errorf("failed: %v, want %v", failed, test.failed)
				}
				for index, state := range test.failed {
					if got := failed[index]; got.State != state || !strings.HasPrefix(got.Error, "order the checkpoint of thing") {
						t.Errorf("record %d: %+v, want %s", index, got, state)
					}
				}
				// Those that were left behind ask for nothing more.
				close(provider.held)
				synctest.Wait()
				if n := provider.asked.Load(); n != test.asked {
					t.Errorf("%d checkpoints were to be ordered, want %d", n, test.asked)
				}
			})
		})
	}
}

// A worker that stops does not charge records with code that does not return then.
func TestOrderAtAStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		provider := newKeyed()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, failed := itemworker.Order(ctx, provider, itemworker.DefaultSettings(), checkpoints("1", `"hang"`, "3"))
		for _, index := range []int32{1, 2} {
			if got := failed[index]; got.State != retrying || !strings.Contains(got.Error, "the service is stopping") {
				t.Errorf("record %d: %+v", index, got)
			}
		}
		close(provider.held)
	})
}

// TestRecordsOfAHangingOrder stores what else is in the batch.
func TestRecordsOfAHangingOrder(t *testing.T) {
	t.Parallel()
	provider := newKeyed()
	t.Cleanup(func() { close(provider.held) })
	w := newWorld(t, obey, func(c *platform.Config) {
		patientBackoff(c)
		c.Providers["shop"], c.ItemWorker.AskTimeout = provider, 3*time.Second
	})
	w.start(t)
	batch := with(w.open(t, 1), "1", "2", "3", "4")
	for i, says := range []string{"1", `"hang"`, `"refuse"`, "4"} {
		batch.Items[i].EventType, batch.Items[i].Checkpoint = "thing", []byte(says)
	}
	w.send(t, batch)
	w.awaitAck(t, batch)
	w.wantOutcomes(t, batch, map[int32]eventsv1.OutcomeState{0: done, 1: retrying, 2: dead, 3: done})
	w.wantReceipts(t, batch, 0, 3)
	var stored int
	w.scan(t, "select count(*) from records where integration_id = $1", batch.GetIntegrationId(), &stored)
	if stored != 2 {
		t.Errorf("%d records are stored, want 2", stored)
	}
}
