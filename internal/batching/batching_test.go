package batching_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/internal/batching"
)

// TestBatches has callers add values while a write is under way: they are written together afterwards. One that is
// refused fails alone.
func TestBatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var mu sync.Mutex
		var writes [][]int
		b := batching.New(3, func(ctx context.Context, values []int) error {
			<-time.After(time.Second)
			mu.Lock()
			defer mu.Unlock()
			if slices.Contains(values, -1) {
				return errors.New("refused")
			}
			values = slices.Sorted(slices.Values(values))
			writes = append(writes, values)
			return nil
		})
		go b.Run(ctx)
		results := map[int]error{}
		add := func(values ...int) {
			for _, value := range values {
				go func() {
					err := b.Add(ctx, value)
					mu.Lock()
					defer mu.Unlock()
					results[value] = err
				}()
			}
		}
		add(1)
		synctest.Wait()
		add(2, 3, 4)
		synctest.Wait()
		add(5)
		<-time.After(time.Minute)
		synctest.Wait()
		if diff := cmp.Diff([][]int{{1}, {2, 3, 4}, {5}}, writes); diff != "" {
			t.Error(diff)
		}
		writes = nil
		add(6)
		synctest.Wait()
		add(-1, 7)
		<-time.After(time.Minute)
		synctest.Wait()
		if diff := cmp.Diff([][]int{{6}, {7}}, writes); diff != "" {
			t.Error(diff)
		}
		for value, err := range results {
			if (err != nil) != (value == -1) {
				t.Errorf("%d: %v", value, err)
			}
		}
		if err := b.Alone(ctx, -1); err == nil {
			t.Error("what is refused is written alone")
		}
	})
}
