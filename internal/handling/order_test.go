package handling_test

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

	"github.com/tributaryhq/tributary/internal/handling"
	"github.com/tributaryhq/tributary/pkg/contracts"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

type shop struct {
	contracts.NoCredentials
	contracts.NoMetadata
	contracts.MaxNumber
}

func (shop) Name() string { return "Shop" }

func (shop) DefaultSyncInterval() time.Duration { return time.Hour }

func (shop) DefaultRateLimit() *contracts.RateLimit { return nil }

func (shop) Sync(context.Context, *contracts.Integration, contracts.SyncSession) error { return nil }

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
	const again, end = false, true // what a permanent error is
	for name, test := range map[string]struct {
		says   []string
		keys   map[int32]string
		failed map[int32]bool
		asked  int32
		took   time.Duration
	}{
		"all": {
			says: []string{"1", "", "3"}, keys: map[int32]string{0: "key of 1", 1: "", 2: "key of 3"}, asked: 2,
		},
		"some fail": {
			says: []string{"1", `"refuse"`, `"panic"`, "4"}, keys: map[int32]string{0: "key of 1", 3: "key of 4"},
			failed: map[int32]bool{1: end, 2: end}, asked: 4,
		},
		"two hang": {
			says: []string{`"hang"`, "2", `"hang"`}, keys: map[int32]string{1: "key of 2"},
			failed: map[int32]bool{0: again, 2: again}, asked: 3, took: 22 * time.Second,
		},
		"more hang": {
			says: []string{"1", `"hang"`, `"hang"`, `"hang"`, "5", `"hang"`}, keys: map[int32]string{0: "key of 1"},
			failed: map[int32]bool{1: again, 2: again, 3: again, 4: again, 5: again}, asked: 4, took: 33 * time.Second,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				provider, began := newKeyed(), time.Now()
				keys, failed := handling.Order(t.Context(), provider, 10*time.Second, checkpoints(test.says...))
				if took := time.Since(began); took != test.took {
					t.Errorf("it took %s, want %s", took, test.took)
				}
				if diff := cmp.Diff(test.keys, keys); diff != "" {
					t.Errorf("keys: %s", diff)
				}
				if !slices.Equal(slices.Sorted(maps.Keys(failed)), slices.Sorted(maps.Keys(test.failed))) {
					t.Errorf("failed: %v, want %v", failed, test.failed)
				}
				for index, permanent := range test.failed {
					got := failed[index]
					if contracts.IsPermanent(got) != permanent ||
						!strings.HasPrefix(got.Error(), "order the checkpoint of thing") {
						t.Errorf("record %d: %v, want it to be permanent: %t", index, got, permanent)
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
		_, failed := handling.Order(ctx, provider, 10*time.Second, checkpoints("1", `"hang"`, "3"))
		for _, index := range []int32{1, 2} {
			got := failed[index]
			if _, deferred := contracts.AsDeferral(got); !deferred ||
				!strings.Contains(got.Error(), "the service is stopping") {
				t.Errorf("record %d: %v", index, got)
			}
		}
		close(provider.held)
	})
}
