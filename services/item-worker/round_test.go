package itemworker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tributaryhq/tributary/pkg/contracts"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
	itemworker "github.com/tributaryhq/tributary/services/item-worker"
)

const (
	done     = eventsv1.OutcomeState_OUTCOME_STATE_DONE
	retrying = eventsv1.OutcomeState_OUTCOME_STATE_RETRYING
	skipped  = eventsv1.OutcomeState_OUTCOME_STATE_SKIPPED
	dead     = eventsv1.OutcomeState_OUTCOME_STATE_DEAD

	event = "test.event"
)

// batchOf makes a batch whose payloads are the items' indexes.
func batchOf(items int) *eventsv1.ItemBatch {
	batch := &eventsv1.ItemBatch{RunId: "run", Attempt: 2, Batch: 3, Provider: "test", FirstAt: timestamppb.Now()}
	for i := range items {
		batch.Items = append(batch.Items, &eventsv1.Item{
			Index: int32(i), EventType: event, ExternalId: fmt.Sprintf("x%d", i), Payload: fmt.Append(nil, i),
		})
	}
	return batch
}

func newRounds(t *testing.T, concurrency int, handlers ...itemworker.ItemHandler) *itemworker.Round {
	t.Helper()
	settings := itemworker.DefaultSettings()
	settings.Concurrency, settings.Timeout, settings.Grace = concurrency, time.Minute, 20*time.Second
	r, err := itemworker.NewRounds(settings, map[string][]itemworker.ItemHandler{event: handlers})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func states(outcomes map[int32]itemworker.Outcome) map[int32]eventsv1.OutcomeState {
	states := map[int32]eventsv1.OutcomeState{}
	for index, outcome := range outcomes {
		states[index] = outcome.State
	}
	return states
}

func TestEveryItemComesToSomething(t *testing.T) {
	t.Parallel()
	second := atomic.Int64{}
	r := newRounds(t, 4,
		func(_ context.Context, _ *contracts.Integration, payload []byte) error {
			switch string(payload) {
			case "1":
				panic("at the item")
			case "2":
				return errors.New("no")
			case "3":
				return contracts.Permanent(errors.New("never"))
			case "4":
				return contracts.Skip("not wanted")
			case "5":
				return contracts.RetryAfter(time.Second, errors.New("later"))
			case "7":
				var none *contracts.DeferralError // an ordinary mistake: this is not nil
				return none
			}
			return nil
		},
		func(context.Context, *contracts.Integration, []byte) error { second.Add(1); return nil },
	)
	outcomes := r.Run(t.Context(), nil, batchOf(8))
	want := map[int32]eventsv1.OutcomeState{
		0: done, 1: retrying, 2: retrying, 3: dead, 4: skipped, 5: retrying,
		6: done, 7: retrying,
	}
	if diff := cmp.Diff(want, states(outcomes)); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(outcomes[1].Error, "panicked: at the item") {
		t.Errorf("the panic is told as %q", outcomes[1].Error)
	}
	if !strings.Contains(outcomes[7].Error, "the error of the handler panicked") {
		t.Errorf("a nil pointer as an error is told as %q", outcomes[7].Error)
	}
	if second.Load() != 2 {
		t.Errorf("the second handler was called %d times, want once for each item that the first has done",
			second.Load())
	}
}

// TestAHandlerThatOverrunsIsLeftBehind has one item hang in the only slot there is. A bubble can't end while a
// goroutine is left in it.
func TestAHandlerThatOverrunsIsLeftBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var told, calls atomic.Int64
		release := make(chan struct{})
		r := newRounds(t, 1, func(ctx context.Context, _ *contracts.Integration, _ []byte) error {
			if calls.Add(1) == 1 {
				<-ctx.Done()
				told.Store(int64(time.Since(began)))
				<-release // and goes on though it was told to stop
			}
			return nil
		})
		outcomes := r.Run(t.Context(), nil, batchOf(3))
		if took := time.Since(began); took != time.Minute+20*time.Second {
			t.Errorf("the round took %s, want the time of a handler and the grace", took)
		}
		if told := time.Duration(told.Load()); told != time.Minute {
			t.Errorf("the handler was told after %s, want a minute", told)
		}
		if diff := cmp.Diff(map[int32]eventsv1.OutcomeState{0: retrying, 1: done, 2: done},
			states(outcomes)); diff != "" {
			t.Error(diff)
		}
		if !strings.Contains(outcomes[0].Error, "time was up") ||
			!strings.Contains(outcomes[0].Error, "did not return") {
			t.Errorf("the overrun is told as %q", outcomes[0].Error)
		}
		// Its slot is free for others, and what it returns after all counts for nothing.
		close(release)
		if diff := cmp.Diff(map[int32]eventsv1.OutcomeState{0: done, 1: done},
			states(r.Run(t.Context(), nil, batchOf(2)))); diff != "" {
			t.Error(diff)
		}
	})
}

// TestNothingIsStartedAfterTheStop stops the service while as many items are in work as may be: they finish, and no
// other begins.
func TestNothingIsStartedAfterTheStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stopping := make(chan struct{})
		r := newRounds(t, 3, func(context.Context, *contracts.Integration, []byte) error {
			<-time.After(time.Second)
			return nil
		})
		time.AfterFunc(1500*time.Millisecond, func() { close(stopping) })
		if n := len(r.Run(t.Context(), stopping, batchOf(100))); n != 6 {
			t.Errorf("%d items were handled, want the six that were started", n)
		}
	})
}

// TestHandlersHearOfTheEnd has the service end the contexts, which one handler heeds and one does not.
func TestHandlersHearOfTheEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, end := context.WithCancel(t.Context())
		release := make(chan struct{})
		began := time.Now()
		r := newRounds(t, 2, func(ctx context.Context, _ *contracts.Integration, payload []byte) error {
			if string(payload) == "0" {
				<-release
			}
			<-ctx.Done()
			return ctx.Err()
		})
		time.AfterFunc(time.Second, end)
		outcomes := r.Run(ctx, nil, batchOf(50))
		if took := time.Since(began); took != 21*time.Second {
			t.Errorf("the round took %s, want the second until the end and the grace", took)
		}
		want := map[int32]itemworker.Outcome{
			0: {State: retrying, Error: "the handler did not return: context canceled", Delay: 10 * time.Second},
			1: {State: retrying, Error: "context canceled", Delay: 10 * time.Second},
		}
		if diff := cmp.Diff(want, outcomes); diff != "" {
			t.Error(diff)
		}
		close(release)
	})
}

// TestHandlersThatWaitRunSideBySide fills every slot, and no more.
func TestHandlersThatWaitRunSideBySide(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var running, most atomic.Int64
		began := time.Now()
		r := newRounds(t, 8, func(context.Context, *contracts.Integration, []byte) error {
			now := running.Add(1)
			for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
			}
			<-time.After(time.Second)
			running.Add(-1)
			return nil
		})
		var batches sync.WaitGroup
		for range 3 {
			batches.Go(func() { r.Run(t.Context(), nil, batchOf(32)) })
		}
		batches.Wait()
		if took := time.Since(began); took != 12*time.Second || most.Load() != 8 {
			t.Errorf("96 items of a second took %s, at most %d at a time; want 12s, 8 at a time", took, most.Load())
		}
	})
}

// TestASmallBatchWaitsForNoLargeOne starts a small batch while a large one has all slots.
func TestASmallBatchWaitsForNoLargeOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRounds(t, 2, func(context.Context, *contracts.Integration, []byte) error {
			<-time.After(time.Second)
			return nil
		})
		var large sync.WaitGroup
		large.Go(func() { r.Run(t.Context(), nil, batchOf(100)) })
		<-time.After(time.Millisecond)
		began := time.Now()
		r.Run(t.Context(), nil, batchOf(1))
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("the small batch took %s, want the item in work before it and its own", took)
		}
		large.Wait()
	})
}

// TestTheHandlersContext is as those of the standard library, though most of it is made only when asked for.
func TestTheHandlersContext(t *testing.T) {
	t.Parallel()
	type key struct{}
	outer := context.WithValue(t.Context(), key{}, "outer")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.WithValue(context.Background(), key{}, outer.Value(key{})))
		defer cancel()
		var kept, derived []context.Context
		began := time.Now()
		r := newRounds(t, 1, func(ctx context.Context, _ *contracts.Integration, payload []byte) error {
			want := contracts.Attempt{
				Run: "run", Item: "run/2/3/" + string(payload), ExternalID: "x" + string(payload),
				Try: 1, MaxTries: 5,
			}
			if got, ok := contracts.AttemptFrom(ctx); !ok || got != want {
				t.Errorf("the attempt is %+v, want %+v", got, want)
			}
			if at, ok := ctx.Deadline(); !ok || !at.Equal(time.Now().Add(time.Minute)) || ctx.Value(key{}) != "outer" ||
				ctx.Err() != nil {
				t.Errorf("deadline %s %v, value %v, error %v", at, ok, ctx.Value(key{}), ctx.Err())
			}
			switch string(payload) {
			case "0": // asks only for the error, after its time
				<-time.After(61 * time.Second)
				return ctx.Err()
			case "1": // waits
				<-ctx.Done()
				return context.Cause(ctx)
			case "2": // hands it on
				inner, cancel := context.WithCancel(ctx)
				defer cancel()
				<-inner.Done()
				return inner.Err()
			}
			inner, cancel := context.WithCancel(ctx)
			t.Cleanup(cancel)
			kept, derived = append(kept, ctx), append(derived, inner)
			return nil
		})
		outcomes := r.Run(ctx, nil, batchOf(4))
		for _, index := range []int32{0, 1, 2} {
			if !strings.Contains(outcomes[index].Error, context.DeadlineExceeded.Error()) {
				t.Errorf("item %d: %+v, want that its time was up", index, outcomes[index])
			}
		}
		if took := time.Since(began); took != 3*time.Minute+time.Second {
			t.Errorf("took %s", took)
		}
		for _, c := range append(kept, derived...) {
			if c.Err() != context.Canceled {
				t.Errorf("after the handler has returned its context has the error %v", c.Err())
			}
			<-c.Done()
		}
	})
}
