package checkpoint_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/tributaryhq/tributary/internal/bus"
	"github.com/tributaryhq/tributary/internal/cells"
	"github.com/tributaryhq/tributary/internal/checkpoint"
	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/leak"
	"github.com/tributaryhq/tributary/internal/wire"
	eventsv1 "github.com/tributaryhq/tributary/pkg/events/v1"
)

func TestMain(m *testing.M) { leak.Main(m) }

func open(t testing.TB, server *natstest.Server) (*checkpoint.Store, *bus.Bus) {
	t.Helper()
	nc := server.Connect(nats.ReconnectWait(10*time.Millisecond), nats.MaxReconnects(-1), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	b, err := bus.New(nc, bus.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	s, err := checkpoint.Open(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	return s, b
}

func key(run string, attempt, batch int32) checkpoint.Key {
	return checkpoint.Key{Run: run, Attempt: attempt, Batch: batch, Index: checkpoint.First}
}

func entry(size int32, outcomes ...*eventsv1.Outcome) *eventsv1.Entry {
	return &eventsv1.Entry{Size: size, Outcomes: outcomes}
}

func equal(t *testing.T, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMergesAtOnceLoseNothing(t *testing.T) {
	server := natstest.New(t)
	const workers, each = 8, 20
	k := key("r", 1, 0)
	var group errgroup.Group
	for worker := range int32(workers) {
		s, _ := open(t, server)
		group.Go(func() error {
			for i := range int32(each) {
				if _, err := s.Merge(t.Context(), k, entry(workers*each, &eventsv1.Outcome{Index: worker*each + i, State: done})); err != nil {
					return err
				}
				// All of them fight about the last one, too.
				if _, err := s.Merge(t.Context(), k, entry(0, &eventsv1.Outcome{Index: workers * each, State: retrying, Hop: worker*each + i})); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	s, _ := open(t, server)
	got, err := s.Read(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	want := entry(workers * each)
	for index := range int32(workers * each) {
		want.Outcomes = append(want.Outcomes, &eventsv1.Outcome{Index: index, State: done})
	}
	want.Outcomes = append(want.Outcomes, &eventsv1.Outcome{Index: workers * each, State: retrying, Hop: workers*each - 1})
	equal(t, want, got)
}

func TestMergeReturnsWhatIsStored(t *testing.T) {
	s, _ := open(t, natstest.New(t))
	k := key("r", 1, 0)
	if _, err := s.Merge(t.Context(), k, entry(2, &eventsv1.Outcome{Index: 1, State: done, Checkpoint: []byte("1")})); err != nil {
		t.Fatal(err)
	}
	returned, err := s.Merge(t.Context(), k, entry(0, &eventsv1.Outcome{Index: 0, State: dead}))
	if err != nil {
		t.Fatal(err)
	}
	read, err := s.Read(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, entry(2, &eventsv1.Outcome{Index: 0, State: dead}, &eventsv1.Outcome{Index: 1, State: done, Checkpoint: []byte("1")}), read)
	equal(t, read, returned)
	absent, err := s.Read(t.Context(), key("r", 2, 0))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, &eventsv1.Entry{}, absent)
}

// A write whose acknowledgement gets lost is stored, and its repetition a conflict.
func TestMergeWithLostAcknowledgements(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		server := natstest.New(t)
		s, b := open(t, server)
		writes := 0
		s = checkpoint.WithCells(s, func(all cells.Cells) cells.Cells { return &deaf{Cells: all, writes: &writes} })
		k := key("r", 1, 0)
		for index := range int32(3) {
			if _, err := s.Merge(t.Context(), k, entry(3, &eventsv1.Outcome{Index: index, State: done})); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.WriteTotal(t.Context(), "r", 1, &eventsv1.Total{Items: 3, Batches: 1}); err != nil {
			t.Fatal(err)
		}
		plain, err := checkpoint.Open(t.Context(), b)
		if err != nil {
			t.Fatal(err)
		}
		got, err := plain.Read(t.Context(), k)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, entry(3, &eventsv1.Outcome{Index: 0, State: done}, &eventsv1.Outcome{Index: 1, State: done}, &eventsv1.Outcome{Index: 2, State: done}), got)
		total, err := plain.ReadTotal(t.Context(), "r", 1)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, &eventsv1.Total{Items: 3, Batches: 1}, total)
		if writes < 4 {
			t.Errorf("only %d writes: no acknowledgement was lost", writes)
		}
	})
}

// deaf loses the acknowledgement of every second write.
type deaf struct {
	cells.Cells
	writes *int
}

func (d *deaf) Write(ctx context.Context, key string, value []byte, last uint64) (uint64, bool, error) {
	revision, ok, err := d.Cells.Write(ctx, key, value, last)
	if *d.writes++; ok && *d.writes%2 == 1 {
		return 0, false, nats.ErrTimeout
	}
	return revision, ok, err
}

func TestTotalIsWrittenOnce(t *testing.T) {
	s, _ := open(t, natstest.New(t))
	absent, err := s.ReadTotal(t.Context(), "r", 1)
	if err != nil || absent != nil {
		t.Errorf("a total that was not written is %v, %v", absent, err)
	}
	first := &eventsv1.Total{Items: 5, Batches: 2, Duplicates: 1}
	for _, total := range []*eventsv1.Total{first, {Items: 7}} {
		if err := s.WriteTotal(t.Context(), "r", 1, total); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.ReadTotal(t.Context(), "r", 1)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, first, got)
	// An empty total is a total.
	if err := s.WriteTotal(t.Context(), "r", 2, &eventsv1.Total{}); err != nil {
		t.Fatal(err)
	}
	if got, err = s.ReadTotal(t.Context(), "r", 2); err != nil || got == nil {
		t.Errorf("an empty total is %v, %v", got, err)
	}
}

func TestMergeWhatCanNotBeStored(t *testing.T) {
	s, b := open(t, natstest.New(t))
	large := &eventsv1.Outcome{State: done, Checkpoint: make([]byte, b.Conn().MaxPayload())}
	if _, err := s.Merge(t.Context(), key("r", 1, 0), entry(1, large)); !errors.Is(err, nats.ErrMaxPayload) {
		t.Errorf("merge gives %v, want %v", err, nats.ErrMaxPayload)
	}
	if _, err := s.Merge(t.Context(), key("no run", 1, 0), entry(1)); !errors.Is(err, jetstream.ErrInvalidKey) {
		t.Errorf("merge gives %v, want %v", err, jetstream.ErrInvalidKey)
	}
	b.Conn().Close()
	if _, err := s.Merge(t.Context(), key("r", 1, 0), entry(1)); !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("merge gives %v, want %v", err, nats.ErrConnectionClosed)
	}
}

func TestMergeOutlastsARestart(t *testing.T) {
	server := natstest.New(t)
	s, b := open(t, server)
	if _, err := s.Merge(t.Context(), key("r", 1, 0), entry(2, &eventsv1.Outcome{Index: 0, State: done})); err != nil {
		t.Fatal(err)
	}
	server.Stop()
	var group errgroup.Group
	group.Go(func() error {
		_, err := s.Merge(t.Context(), key("r", 1, 0), entry(2, &eventsv1.Outcome{Index: 1, State: done}))
		return err
	})
	for b.Ready() == nil {
		select {
		case <-t.Context().Done():
		case <-time.After(time.Millisecond):
		}
	}
	server.Start()
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	got, err := s.Read(t.Context(), key("r", 1, 0))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, entry(2, &eventsv1.Outcome{Index: 0, State: done}, &eventsv1.Outcome{Index: 1, State: done}), got)
}

func TestStoreOutlastsTheLossOfItsBucket(t *testing.T) {
	s, b := open(t, natstest.New(t))
	fill(t, s, "r", 1)
	js, err := jetstream.New(b.Conn())
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteKeyValue(t.Context(), wire.BucketCheckpoints); err != nil {
		t.Fatal(err)
	}
	fill(t, s, "r", 2)
	equal(t, map[string]bool{"r.2.0": true, "r.2.1": true, "r.2.0.3": true, "total": true}, all(t, s, "r", 2))
	equal(t, map[string]bool{}, all(t, s, "r", 1))
}

// all reads an attempt into a map by key; the total has the key of its name.
func all(t *testing.T, s *checkpoint.Store, run string, attempt int32) map[string]bool {
	t.Helper()
	got := map[string]bool{}
	err := s.ReadAll(t.Context(), run, attempt, func(u checkpoint.Update) { got[name(u)] = true })
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func name(u checkpoint.Update) string {
	if u.Total != nil {
		return "total"
	}
	return u.Key.String()
}

// fill writes two batches, a hop and a total of each attempt.
func fill(t *testing.T, s *checkpoint.Store, run string, attempts ...int32) {
	t.Helper()
	for _, attempt := range attempts {
		hop := key(run, attempt, 0)
		hop.Index = 3
		for _, k := range []checkpoint.Key{key(run, attempt, 0), key(run, attempt, 1), hop} {
			if _, err := s.Merge(t.Context(), k, entry(1)); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.WriteTotal(t.Context(), run, attempt, &eventsv1.Total{Items: 2}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReadAllAndFree(t *testing.T) {
	s, _ := open(t, natstest.New(t))
	fill(t, s, "r", 1, 10)
	fill(t, s, "r2", 1)
	first := map[string]bool{"r.1.0": true, "r.1.1": true, "r.1.0.3": true, "total": true}
	tenth := map[string]bool{"r.10.0": true, "r.10.1": true, "r.10.0.3": true, "total": true}
	nothing := map[string]bool{}
	equal(t, first, all(t, s, "r", 1))
	equal(t, nothing, all(t, s, "r", 2))
	equal(t, nothing, all(t, s, "other", 1))
	if err := s.Free(t.Context(), "r", 1); err != nil {
		t.Fatal(err)
	}
	equal(t, nothing, all(t, s, "r", 1))
	equal(t, tenth, all(t, s, "r", 10))
	// What was freed can be written again.
	fill(t, s, "r", 1)
	equal(t, first, all(t, s, "r", 1))
	if err := s.Free(t.Context(), "r", 0); err != nil {
		t.Fatal(err)
	}
	equal(t, nothing, all(t, s, "r", 1))
	equal(t, nothing, all(t, s, "r", 10))
	equal(t, map[string]bool{"r2.1.0": true, "r2.1.1": true, "r2.1.0.3": true, "total": true}, all(t, s, "r2", 1))
}

func TestReadAllTakesNoTime(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		s, _ := open(t, natstest.New(t))
		start := time.Now()
		equal(t, map[string]bool{}, all(t, s, "r", 1))
		fill(t, s, "r", 1)
		all(t, s, "r", 1)
		if took := time.Since(start); took > 100*time.Millisecond {
			t.Errorf("reading took %s", took)
		}
	})
}

func TestReadAllSaysWhenItCouldNot(t *testing.T) {
	server := natstest.New(t)
	s, b := open(t, server)
	fill(t, s, "r", 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.ReadAll(ctx, "r", 1, func(checkpoint.Update) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("an ended context gives %v, want %v", err, context.Canceled)
	}
	b.Conn().Close()
	if err := s.ReadAll(t.Context(), "r", 1, func(checkpoint.Update) {}); err == nil {
		t.Error("a closed connection gives no error")
	}
}

// Two workers have a batch. The server goes back, the other worker writes its outcomes at the revision that this one holds, and both outcomes are kept.
func TestMergeOverAServerThatWentBack(t *testing.T) {
	server := natstest.New(t)
	s, b := open(t, server)
	other, _ := open(t, server)
	outcome := func(index int32) *eventsv1.Entry { return entry(3, &eventsv1.Outcome{Index: index, State: done}) }
	putBack := server.Snapshot()
	mine, err := s.Cell(t.Context(), key("r", 1, 0))
	if err != nil {
		t.Fatal(err)
	}
	if err := mine.Merge(t.Context(), outcome(0)); err != nil {
		t.Fatal(err)
	}
	connected := b.Conn().Stats().Reconnects
	putBack()
	if _, err := other.Merge(t.Context(), key("r", 1, 0), outcome(1)); err != nil {
		t.Fatal(err)
	}
	for b.Conn().Stats().Reconnects == connected || b.Ready() != nil {
		<-time.After(time.Millisecond)
	}
	if err := mine.Merge(t.Context(), outcome(2)); err != nil {
		t.Fatal(err)
	}
	got, err := s.Read(t.Context(), key("r", 1, 0))
	if err != nil {
		t.Fatal(err)
	}
	want := entry(3, &eventsv1.Outcome{Index: 1, State: done}, &eventsv1.Outcome{Index: 2, State: done})
	equal(t, want, got)
}
