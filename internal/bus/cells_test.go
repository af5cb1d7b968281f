package bus_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/wire"
)

func cellsOf(t *testing.T, b *bus.Bus) *bus.Cells {
	t.Helper()
	cells, err := b.Cells(t.Context(), wire.BucketLimits)
	if err != nil {
		t.Fatal(err)
	}
	return cells
}

func TestIsOutrun(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		err  error
		want bool
	}{
		"nothing": {nil, false},
		"one node": {fmt.Errorf("put: %w",
			&jetstream.APIError{Code: 400, ErrorCode: jetstream.JSErrCodeStreamWrongLastSequence}), true},
		"a cluster": {fmt.Errorf("put: %w",
			&jetstream.APIError{Code: 400, ErrorCode: jetstream.JSErrCodeStreamWrongLastSequenceConstant}), true},
		"a new key":   {fmt.Errorf("create: %w", jetstream.ErrKeyExists), true},
		"not found":   {&jetstream.APIError{Code: 404, ErrorCode: jetstream.JSErrCodeStreamNotFound}, false},
		"no such key": {jetstream.ErrKeyNotFound, false},
		"time is up":  {context.DeadlineExceeded, false},
	} {
		if got := bus.IsOutrun(tt.err); got != tt.want {
			t.Errorf("%s: %t, want %t", name, got, tt.want)
		}
	}
}

func TestCells(t *testing.T) {
	t.Parallel()
	b := newBus(t, natstest.New(t).Connect(), bus.Options{})
	cells := cellsOf(t, b)
	value, revision, err := cells.Read(t.Context(), "a.b")
	if err != nil || value != nil || revision != 0 {
		t.Fatalf("a new cell holds %q at %d, %v", value, revision, err)
	}
	first, ok, err := cells.Write(t.Context(), "a.b", []byte("1"), 0)
	if err != nil || !ok || first == 0 {
		t.Fatalf("the first write gives %d, %t, %v", first, ok, err)
	}
	if _, ok, err := cells.Write(t.Context(), "a.b", []byte("x"), 0); err != nil || ok {
		t.Errorf("a second first write is taken: %t, %v", ok, err)
	}
	second, ok, err := cells.Write(t.Context(), "a.b", []byte("2"), first)
	if err != nil || !ok {
		t.Fatalf("the second write gives %t, %v", ok, err)
	}
	if _, ok, err := cells.Write(t.Context(), "a.b", []byte("x"), first); err != nil || ok {
		t.Errorf("a write on an old revision is taken: %t, %v", ok, err)
	}
	value, revision, err = cells.Read(t.Context(), "a.b")
	if err != nil || string(value) != "2" || revision != second {
		t.Errorf("the cell holds %q at %d, want 2 at %d, %v", value, revision, second, err)
	}
	if ok, err := cells.Delete(t.Context(), "a.b", first); err != nil || ok {
		t.Errorf("a deletion on an old revision is taken: %t, %v", ok, err)
	}
	if ok, err := cells.Delete(t.Context(), "a.b", second); err != nil || !ok {
		t.Errorf("the cell is not deleted: %t, %v", ok, err)
	}
	if value, revision, err = cells.Read(t.Context(), "a.b"); err != nil || value != nil || revision != 0 {
		t.Errorf("a deleted cell holds %q at %d, %v", value, revision, err)
	}
	if _, ok, err := cells.Write(t.Context(), "a.b", []byte("3"), 0); err != nil || !ok {
		t.Errorf("a deleted cell is not written again: %t, %v", ok, err)
	}
}

func TestCellsWatch(t *testing.T) {
	t.Parallel()
	server := natstest.New(t)
	cells := cellsOf(t, newBus(t, server.Connect(), bus.Options{}))
	if _, _, err := cells.Write(t.Context(), "a.said", []byte("before"), 0); err != nil {
		t.Fatal(err)
	}
	if _, _, err := cells.Write(t.Context(), "a.other", []byte("other"), 0); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	told := make(chan string, 10)
	ended := make(chan error, 1)
	go func() {
		ended <- cells.Watch(ctx, "*.said", func(key string, value []byte, _ uint64) {
			told <- key + "=" + string(value)
		})
	}()
	if got := <-told; got != "a.said=before" {
		t.Errorf("told %q", got)
	}
	if _, _, err := cells.Write(t.Context(), "b.said", []byte("after"), 0); err != nil {
		t.Fatal(err)
	}
	if got := <-told; got != "b.said=after" {
		t.Errorf("told %q", got)
	}
	server.Restart()
	again := map[string]bool{<-told: true, <-told: true}
	if diff := cmp.Diff(map[string]bool{"a.said=before": true, "b.said=after": true}, again); diff != "" {
		t.Errorf("after a restart (-want +got):\n%s", diff)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// However wrong this machine's clock is, the broker's time is within the bounds, which are narrow.
func TestClock(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		server := natstest.New(t)
		for _, skew := range []time.Duration{0, time.Hour, -3 * time.Second} {
			clock := newBus(t, server.Connect(), bus.Options{Now: func() time.Time {
				return time.Now().Add(skew)
			}}).Clock(wire.BucketLimits)
			if _, _, known := clock.Bounds(); known {
				t.Error("the time is known before anybody asked")
			}
			for range 5 {
				if err := clock.Refresh(t.Context()); err != nil {
					t.Fatal(err)
				}
				within(t, clock, 10*time.Millisecond)
				<-time.After(10 * time.Second) // in a bubble
				within(t, clock, 30*time.Millisecond)
			}
		}
	})
}

// A clock that jumps, as when the machine has slept, is not believed before the next answer.
func TestClockJumps(t *testing.T) {
	t.Parallel()
	jump := time.Duration(0)
	b := newBus(t, natstest.New(t).Connect(), bus.Options{Now: func() time.Time { return time.Now().Add(jump) }})
	clock := b.Clock(wire.BucketLimits)
	if err := clock.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	jump = -time.Hour
	if _, _, known := clock.Bounds(); known {
		t.Error("the time is known though the clock went back")
	}
	if err := clock.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	within(t, clock, time.Minute)
}

func within(t *testing.T, clock *bus.Clock, width time.Duration) {
	t.Helper()
	before := time.Now()
	earliest, latest, known := clock.Bounds()
	if !known || earliest.After(time.Now()) || latest.Before(before) {
		t.Errorf("the bounds are %s and %s at %s", earliest, latest, before)
	}
	if latest.Sub(earliest) > width {
		t.Errorf("the bounds are %s apart", latest.Sub(earliest))
	}
}
