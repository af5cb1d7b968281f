package setaside_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/internal/setaside"
)

// crew sweeps a list with workers. The share of an element is its first letter.
type crew struct {
	*world
	workers *setaside.Workers
	// begun gets each element whose step begins; the steps of a share named in hangs wait for its channel.
	begun chan string
	hangs map[string]chan struct{}
	// pages are how many elements each sweep asked for.
	pages []int
}

func newCrew(t *testing.T, n int) *crew {
	t.Helper()
	return &crew{world: newWorld(t), workers: setaside.NewWorkers(n), begun: make(chan string, 100), hangs: map[string]chan struct{}{}}
}

func (c *crew) sweep(ctx context.Context, elements ...string) error {
	return setaside.Run(ctx, c.Set, setaside.Sweep[string]{
		Kind: kind, Most: 4, Workers: c.workers, Share: func(key string) string { return key[:1] },
		Name: func(key string) setaside.Element { return setaside.Element{Key: key} },
		List: func(_ context.Context, most int32) ([]string, error) {
			c.pages = append(c.pages, int(most))
			return elements, nil
		},
		Step: func(_ context.Context, key string) error {
			c.begun <- key
			if hang := c.hangs[key[:1]]; hang != nil {
				<-hang
			}
			if bad := c.bad[key]; bad != nil {
				return bad()
			}
			return nil
		},
	})
}

// wantBegun waits for steps to begin, in any order.
func (c *crew) wantBegun(t *testing.T, want string) {
	t.Helper()
	left := strings.Fields(want)
	for len(left) > 0 {
		select {
		case key := <-c.begun:
			rest := without(left, key)
			if len(rest) == len(left) {
				t.Fatalf("%s begins, want %v", key, left)
			}
			left = rest
		case <-t.Context().Done():
			t.Fatalf("%v do not begin", left)
		}
	}
}

// TestAHangingShare has the steps of one share hang: others, also those of later sweeps, are done meanwhile, and no
// element twice.
func TestAHangingShare(t *testing.T) {
	t.Parallel()
	c := newCrew(t, 4)
	hang := make(chan struct{})
	c.hangs["a"] = hang
	for _, elements := range [][]string{{"a0", "a1", "a2", "a3", "b0"}, {"a0", "a1", "a2", "a3", "b1"}} {
		if err := c.sweep(t.Context(), elements...); err != nil {
			t.Fatal(err)
		}
		if len(c.pages) == 1 {
			c.wantBegun(t, "a0 a1 b0")
		}
	}
	c.wantBegun(t, "b1")
	if c.pages[1] < 8 {
		t.Errorf("the second page has %d elements, though those that are known already take %d", c.pages[1], 4)
	}
	if !c.workers.Has(kind, "a3") || c.workers.Has(kind, "a4") {
		t.Error("it is not known what waits")
	}
	close(hang)
	c.wantBegun(t, "a2 a3")
	c.workers.Wait()
	if len(c.begun) > 0 || c.workers.Has(kind, "a3") {
		t.Errorf("%d steps began again", len(c.begun))
	}
}

// TestWorkersNoteFailures as a sweep without workers does; and what says that a store is away ends up in the next
// sweep, which has what was left.
func TestWorkersNoteFailures(t *testing.T) {
	t.Parallel()
	c := newCrew(t, 2)
	c.bad["a0"], c.bad["b0"] = fails, func() error { panic("out of its mind") }
	if err := c.sweep(t.Context(), "a0", "b0"); err != nil {
		t.Fatal(err)
	}
	c.workers.Wait()
	known, err := c.Load(t.Context(), kind)
	if err != nil || known["a0"] == nil || known["b0"] == nil {
		t.Fatalf("noted %v, %v", known, err)
	}
	c.away, c.bad["c0"] = context.DeadlineExceeded, fails
	c.hangs["c"] = make(chan struct{})
	if err := c.sweep(t.Context(), "c0", "c1", "c2"); err != nil {
		t.Fatal(err)
	}
	c.wantBegun(t, "a0 b0 c0")
	close(c.hangs["c"])
	c.workers.Wait()
	if len(c.begun) > 0 {
		t.Error("a step began while a store was away")
	}
	c.away = nil
	delete(c.bad, "c0")
	if err := c.sweep(t.Context(), "c0", "c1"); err == nil || !strings.Contains(err.Error(), "c0: it is broken") {
		t.Errorf("the next sweep ends with %v, want that of the step", err)
	}
	c.workers.Wait()
	c.wantBegun(t, "c0 c1")
	if err := c.sweep(t.Context()); err != nil {
		t.Errorf("an error is returned twice: %v", err)
	}
}

// TestNoStepBeginsAfterTheEnd has the context end while steps wait for a worker.
func TestNoStepBeginsAfterTheEnd(t *testing.T) {
	t.Parallel()
	c := newCrew(t, 2)
	c.hangs["a"] = make(chan struct{})
	ctx, end := context.WithCancel(t.Context())
	if err := c.sweep(ctx, "a0", "a1", "a2"); err != nil {
		t.Fatal(err)
	}
	c.wantBegun(t, "a0")
	end()
	close(c.hangs["a"])
	c.workers.Wait()
	var rest []string
	for len(c.begun) > 0 {
		rest = append(rest, <-c.begun)
	}
	if diff := cmp.Diff([]string(nil), rest); diff != "" {
		t.Errorf("begun after the end:\n%s", diff)
	}
}
