package budget

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func TestWindowAt(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		at     time.Time
		length time.Duration
		want   time.Time
	}{
		{noon, time.Hour, noon},
		{noon.Add(time.Hour - 1), time.Hour, noon},
		{noon.Add(90 * time.Second), time.Minute, noon.Add(time.Minute)},
		{noon, 24 * time.Hour, noon.Add(-12 * time.Hour)},
		{noon.Add(7 * time.Second), 5 * time.Second, noon.Add(5 * time.Second)},
	} {
		if got := windowAt(test.at, test.length); !got.Equal(test.want) {
			t.Errorf("the %s at %s starts at %s, want %s", test.length, test.at, got, test.want)
		}
	}
}

func TestSpendingMovesOn(t *testing.T) {
	t.Parallel()
	s := spending{Start: noon, Used: 7, Previous: 3}
	for _, test := range []struct {
		name  string
		start time.Time
		want  spending
	}{
		{"the same window", noon, s},
		{"the next window", noon.Add(time.Minute), spending{Start: noon.Add(time.Minute), Previous: 7}},
		{"after a pause", noon.Add(2 * time.Minute), spending{Start: noon.Add(2 * time.Minute)}},
		{"who is late leaves it", noon.Add(-time.Minute), s},
	} {
		if got := s.at(test.start, time.Minute); got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}

func TestFree(t *testing.T) {
	t.Parallel()
	fixed, sliding := *contracts.PerMinute(100), *contracts.PerMinute(100).Sliding()
	for _, test := range []struct {
		name  string
		limit contracts.RateLimit
		s     spending
		after time.Duration
		want  int64
	}{
		{"nothing spent", fixed, spending{}, 0, 100},
		{"some spent", fixed, spending{Used: 30, Previous: 100}, 0, 70},
		{"more than the limit, which was lowered", fixed, spending{Used: 300}, 0, 0},
		{"sliding, at the boundary", sliding, spending{Previous: 100}, 0, 0},
		{"sliding, half way", sliding, spending{Previous: 100, Used: 10}, 30 * time.Second, 40},
		{"sliding, rounded up", sliding, spending{Previous: 100}, time.Nanosecond, 0},
		{"sliding, a unit decayed", sliding, spending{Previous: 100}, 600 * time.Millisecond, 1},
		{"sliding, just before", sliding, spending{Previous: 100}, 600*time.Millisecond - 1, 0},
		{"narrowed", fixed, spending{Used: 30, Left: 5, LeftUntil: noon.Add(time.Hour)}, 0, 5},
		{"narrowed no more", fixed, spending{Used: 30, Left: 5, LeftUntil: noon}, 0, 70},
	} {
		test.s.Start = noon
		if got := test.s.free(test.limit, noon.Add(test.after)); got != test.want {
			t.Errorf("%s: %d, want %d", test.name, got, test.want)
		}
	}
}

func TestNarrow(t *testing.T) {
	t.Parallel()
	s := spending{Start: noon}.narrow(10, noon.Add(time.Hour), noon)
	for _, test := range []struct {
		name  string
		left  int64
		until time.Time
		now   time.Time
		want  int64
	}{
		{"an answer that was overtaken", 12, noon.Add(time.Hour), noon, 10},
		{"less", 8, noon.Add(time.Hour + time.Second), noon, 8},
		{"below nothing", -3, noon.Add(time.Hour), noon, 0},
		{"a new count", 5000, noon.Add(2 * time.Hour), noon.Add(61 * time.Minute), 5000},
	} {
		if got := s.narrow(test.left, test.until, test.now); got.Left != test.want {
			t.Errorf("%s: %d are left, want %d", test.name, got.Left, test.want)
		}
	}
	if got := s.take(4).take(-1); got.Left != 7 || got.Used != 3 {
		t.Errorf("after 4 taken and one given back: %+v", got)
	}
}

// TestAgain compares what again promises with what free says, just before and then.
func TestAgain(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		limit := contracts.RateLimit{
			Limit: 1 + random.IntN(50), Window: time.Duration(1+random.IntN(5)) * time.Second,
			IsSliding: random.IntN(2) == 0,
		}
		start := windowAt(noon, limit.Window)
		s := spending{Start: start, Used: random.Int64N(60), Previous: random.Int64N(60)}
		if random.IntN(3) == 0 {
			s.Left, s.LeftUntil = random.Int64N(3), start.Add(time.Duration(random.Int64N(int64(3*limit.Window))))
		}
		at := start.Add(time.Duration(random.Int64N(int64(limit.Window))))
		units := 1 + random.Int64N(int64(limit.Limit))
		if s.free(limit, at) >= units {
			continue
		}
		again := s.again(limit, units, at)
		free := func(at time.Time) int64 {
			if at.Before(start) {
				return 0
			}
			return s.at(windowAt(at, limit.Window), limit.Window).free(limit, at)
		}
		if free(again) < units {
			t.Fatalf("%+v, %+v: %d units at %s, %d are free", limit, s, units, again.Sub(start), free(again))
		}
		if before := again.Add(-time.Millisecond); before.After(at) && free(before) >= units {
			t.Fatalf("%+v, %+v: %d units only at %s, though free before", limit, s, units, again.Sub(start))
		}
	}
}

func TestWeighedIsExact(t *testing.T) {
	t.Parallel()
	const month = 31 * 24 * time.Hour
	if got := weighed(math.MaxInt32, month-1, month); got != math.MaxInt32 {
		t.Errorf("all but a nanosecond of it weigh %d, want all", got)
	}
	if got := weighed(1000, month/4, month); got != 250 {
		t.Errorf("a quarter weighs %d, want 250", got)
	}
}
