package vitals

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// keptReports is a store that remembers, and fails while it is told to.
type keptReports struct {
	mu      sync.Mutex
	failing bool
	reports []Report
	counts  []Count
	calls   int
}

func (k *keptReports) ReportHealth(_ context.Context, reports []Report) ([]Report, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.failing {
		return reports, errors.New("the database is away")
	}
	k.calls++
	k.reports = append(k.reports, reports...)
	return nil, nil
}

func (k *keptReports) CountRequests(_ context.Context, counts []Count) ([]Count, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.failing {
		return counts, errors.New("the database is away")
	}
	k.counts = append(k.counts, counts...)
	return nil, nil
}

// TestCountsOfALongOutage are kept by the hour, once they are many.
func TestCountsOfALongOutage(t *testing.T) {
	t.Parallel()
	store := &keptReports{failing: true}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	v := New(store, slog.New(slog.DiscardHandler), func() time.Time { return now })
	const integrations, minutes = 500, 120
	for range minutes {
		for i := range integrations {
			v.NoteCached(strconv.Itoa(i))
		}
		if err := v.count(t.Context()); err == nil {
			t.Fatal("the store is away")
		}
		now = now.Add(time.Minute)
	}
	if kept := len(v.counts); kept > mostMinutes+integrations {
		t.Errorf("%d counts are kept", kept)
	}
	store.failing = false
	if err := v.count(t.Context()); err != nil {
		t.Fatal(err)
	}
	var all int64
	for _, count := range store.counts {
		all += count.Cached
	}
	if all != integrations*minutes {
		t.Errorf("%d requests are counted, of %d", all, integrations*minutes)
	}
}

// The letters are what requests came to: a success, a failure, a refusal, and nothing that counts.
func TestVitalsFold(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		requests string
		want     Report
	}{
		{"s", Report{Answered: true, Successes: 1}},
		{"sss", Report{Answered: true, Successes: 3}},
		{"f", Report{Failed: true, Failures: 1, Error: "f1"}},
		{"fff", Report{Failed: true, Failures: 3, Error: "f3"}},
		{"fsf", Report{Answered: true, Failed: true, Failures: 1, Error: "f3"}},
		{"ffs", Report{Answered: true, Failed: true, Successes: 1, Error: "f2"}},
		{"sff", Report{Answered: true, Failed: true, Failures: 2, Error: "f3"}},
		{"rrf", Report{Failed: true, Failures: 1, Refusals: 2, Error: "f3"}},
		{"frs", Report{Answered: true, Failed: true, Successes: 1, Error: "r2"}},
	} {
		news := func(i int) Report {
			name := foreign.Word(string(test.requests[i]) + string(rune('1'+i)))
			switch test.requests[i] {
			case 's':
				return Report{Answered: true, Successes: 1}
			case 'f':
				return Report{Failed: true, Failures: 1, Error: name}
			default:
				return Report{Failed: true, Refusals: 1, Error: name}
			}
		}
		// However the requests are cut into reports, together they say the same.
		for cut := range len(test.requests) + 1 {
			var before, after Report
			for i := range test.requests {
				if i < cut {
					before = before.then(news(i))
				} else {
					after = after.then(news(i))
				}
			}
			if diff := cmp.Diff(test.want, before.then(after)); diff != "" {
				t.Errorf("%s cut at %d (-want +got):\n%s", test.requests, cut, diff)
			}
		}
	}
}

func TestVitalsAreReportedInBatches(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &keptReports{failing: true}
		v := New(store, slog.New(slog.DiscardHandler), time.Now)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { v.Run(ctx); close(ended) }()
		note := func(times int, a Attempt) {
			a.Took, a.Failure = time.Millisecond, func() string { return "down" }
			for range times {
				v.Note("one", a)
			}
		}
		down := Attempt{Class: contracts.FailureUpstream, Status: 503}
		note(3, down)
		elapse(30 * time.Second) // the store is away, and nothing is lost
		note(2, down)
		store.mu.Lock()
		store.failing = false
		store.mu.Unlock()
		elapse(15 * time.Second)
		if diff := cmp.Diff([]Report{{Integration: "one", Failed: true, Failures: 5, Error: "down"}},
			store.reports); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		note(1000, Attempt{Status: 200})
		v.NoteCached("one")
		elapse(1100 * time.Millisecond)
		stop()
		<-ended
		if store.calls != 2 {
			t.Errorf("the store was called %d times", store.calls)
		}
		var total Count
		for _, c := range store.counts {
			total.add(c)
		}
		if diff := cmp.Diff(Count{Upstream: 5, Succeeded: 1000, Cached: 1, Took: 1005 * time.Millisecond},
			total); diff != "" {
			t.Errorf("counted (-want +got):\n%s", diff)
		}
	})
}

// elapse lets time go by in a bubble, where nobody waits for it, and everybody else do what is due at its end: what a
// test does next happens after that.
func elapse(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}
