package checkpoint_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/pkg/contracts"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

// reducer is a provider whose reducer does what the first checkpoint says.
type reducer struct{}

func (reducer) Sync(context.Context, *contracts.Integration, contracts.SyncSession) error { return nil }

func (reducer) DefaultSyncInterval() time.Duration { return time.Hour }

func (reducer) DefaultRateLimit() *contracts.RateLimit { return nil }

func (reducer) ReduceCheckpoints(checkpoints []contracts.Checkpoint) (contracts.Cursor, error) {
	switch string(checkpoints[0]) {
	case "panic":
		panic("at the checkpoint")
	case "fail":
		return contracts.Cursor("half"), errors.New("no")
	}
	return contracts.Cursor(checkpoints[0]), nil
}

// TestReduce has reducers fail in every way, of which none gives a cursor.
func TestReduce(t *testing.T) {
	t.Parallel()
	for first, want := range map[string]string{"7": "", "panic": "panicked: at the checkpoint", "fail": "no", "half": "is not JSON"} {
		cursor, err := checkpoint.Reduce(reducer{}, []contracts.Checkpoint{contracts.Checkpoint(first)})
		if want == "" {
			if string(cursor) != first || err != nil {
				t.Errorf("%s: the cursor is %s, %v", first, cursor, err)
			}
			continue
		}
		if cursor != nil || !errors.Is(err, checkpoint.ErrReducer) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: the cursor is %s, %v; want none and %q", first, cursor, err, want)
		}
	}
}

// TestReduceGivesUTF8 has a reducer return JSON that Postgres and messages have no place for.
func TestReduceGivesUTF8(t *testing.T) {
	t.Parallel()
	cursor, err := checkpoint.Reduce(reducer{}, []contracts.Checkpoint{contracts.Checkpoint("\"caf\xe9\"")})
	if string(cursor) != "\"caf\ufffd\"" || err != nil {
		t.Errorf("the cursor is %q, %v", cursor, err)
	}
}

// TestProgressComparesTheItemsWithTheTotal tells of all batches and of fewer, or more, items than the total has.
func TestProgressComparesTheItemsWithTheTotal(t *testing.T) {
	t.Parallel()
	for items, want := range map[int64]bool{2: false, 3: true, 4: false} {
		var p checkpoint.Progress
		for batch, size := range []int32{1, 2} {
			entry := &eventsv1.Entry{Size: size}
			for index := range size {
				checkpoint.MarkDone(entry, index)
			}
			p.Apply(checkpoint.Update{Key: checkpoint.Key{Batch: int32(batch), Index: checkpoint.First}, Entry: entry})
		}
		p.Apply(checkpoint.Update{Total: &eventsv1.Total{Items: items, Batches: 2}})
		if p.Complete() != want {
			t.Errorf("three items of a total of %d: complete is %v", items, p.Complete())
		}
	}
}

// hanging is a reducer that does not return before the test ends.
type hanging struct {
	contracts.ScheduledSync
	end chan struct{}
}

func (h hanging) ReduceCheckpoints([]contracts.Checkpoint) (contracts.Cursor, error) {
	<-h.end
	return nil, nil
}

// TestReducerThatHangs is the reducer's failure, and no store's that is away.
func TestReducerThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := hanging{end: make(chan struct{})}
		began := time.Now()
		_, err := checkpoint.Reduce(h, nil)
		if !errors.Is(err, checkpoint.ErrReducer) || !errors.Is(err, panics.ErrLeftBehind) || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the error is %v", err)
		}
		if waited := time.Since(began); waited != 30*time.Second {
			t.Errorf("waited for %s", waited)
		}
		close(h.end)
	})
}
