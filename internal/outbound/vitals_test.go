package outbound

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/redact"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// keptReports is a store that remembers, and fails while it is told to.
type keptReports struct {
	mu      sync.Mutex
	failing bool
	reports []HealthReport
	counts  []RequestCount
	calls   int
}

func (k *keptReports) ReportHealth(_ context.Context, reports []HealthReport) ([]HealthReport, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.failing {
		return reports, errors.New("the database is away")
	}
	k.calls++
	k.reports = append(k.reports, reports...)
	return nil, nil
}

func (k *keptReports) CountRequests(_ context.Context, counts []RequestCount) ([]RequestCount, error) {
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
	v := NewVitals(store, slog.New(slog.DiscardHandler), func() time.Time { return now })
	const integrations, minutes = 500, 120
	for range minutes {
		for i := range integrations {
			v.noteCached(strconv.Itoa(i))
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
		want     HealthReport
	}{
		{"s", HealthReport{Answered: true, Successes: 1}},
		{"sss", HealthReport{Answered: true, Successes: 3}},
		{"f", HealthReport{Failed: true, Failures: 1, Error: "f1"}},
		{"fff", HealthReport{Failed: true, Failures: 3, Error: "f3"}},
		{"fsf", HealthReport{Answered: true, Failed: true, Failures: 1, Error: "f3"}},
		{"ffs", HealthReport{Answered: true, Failed: true, Successes: 1, Error: "f2"}},
		{"sff", HealthReport{Answered: true, Failed: true, Failures: 2, Error: "f3"}},
		{"rrf", HealthReport{Failed: true, Failures: 1, Refusals: 2, Error: "f3"}},
		{"frs", HealthReport{Answered: true, Failed: true, Successes: 1, Error: "r2"}},
	} {
		news := func(i int) HealthReport {
			name := foreign.Word(string(test.requests[i]) + string(rune('1'+i)))
			switch test.requests[i] {
			case 's':
				return HealthReport{Answered: true, Successes: 1}
			case 'f':
				return HealthReport{Failed: true, Failures: 1, Error: name}
			default:
				return HealthReport{Failed: true, Refusals: 1, Error: name}
			}
		}
		// However the requests are cut into reports, together they say the same.
		for cut := range len(test.requests) + 1 {
			var before, after HealthReport
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
		v := NewVitals(store, slog.New(slog.DiscardHandler), time.Now)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { v.Run(ctx); close(ended) }()
		plain := func(text string) string { return text }
		note := func(times int, verdict judged) {
			for range times {
				v.note("one", verdict, time.Millisecond, plain)
			}
		}
		down := judged{class: contracts.FailureUpstream, err: errors.New("down"), status: 503}
		note(3, down)
		elapse(30 * time.Second) // the store is away, and nothing is lost
		note(2, down)
		store.mu.Lock()
		store.failing = false
		store.mu.Unlock()
		elapse(15 * time.Second)
		if diff := cmp.Diff([]HealthReport{{Integration: "one", Failed: true, Failures: 5, Error: "down"}}, store.reports); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		note(1000, judged{status: 200})
		v.noteCached("one")
		elapse(1100 * time.Millisecond)
		stop()
		<-ended
		if store.calls != 2 {
			t.Errorf("the store was called %d times", store.calls)
		}
		var total RequestCount
		for _, c := range store.counts {
			total.add(c)
		}
		if diff := cmp.Diff(RequestCount{Upstream: 5, Succeeded: 1000, Cached: 1, Took: 1005 * time.Millisecond}, total); diff != "" {
			t.Errorf("counted (-want +got):\n%s", diff)
		}
	})
}

func TestWhatIsReported(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		answer func(*http.Request) (*http.Response, error)
		report HealthReport
		count  RequestCount
	}{
		"a success":         {answers(200), HealthReport{Answered: true, Successes: 1}, RequestCount{Succeeded: 1}},
		"down":              {answers(503), HealthReport{Failed: true, Failures: 1, Error: "GET /a: 503 Service Unavailable"}, RequestCount{Upstream: 1}},
		"no connection":     {fails(errors.New("refused")), HealthReport{Failed: true, Failures: 1, Error: "refused"}, RequestCount{Upstream: 1}},
		"wrong credentials": {answers(401), HealthReport{Failed: true, Refusals: 1, Error: "GET /a: 401 Unauthorized"}, RequestCount{Client: 1}},
		"not found":         {answers(404), HealthReport{}, RequestCount{Client: 1}},
		"throttled":         {answers(429), HealthReport{}, RequestCount{Throttle: 1}},
		"a deferral":        {fails(contracts.RetryAfter(1, nil)), HealthReport{}, RequestCount{}},
		"it never left":     {fails(&unsentError{errors.New("no key")}), HealthReport{}, RequestCount{}},
		"given up":          {fails(context.Canceled), HealthReport{}, RequestCount{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := &keptReports{}
			now := time.Date(2026, 3, 1, 12, 0, 30, 0, time.UTC)
			v := NewVitals(store, slog.New(slog.DiscardHandler), func() time.Time { return now })
			up := &script{t: t, answers: []func(*http.Request) (*http.Response, error){test.answer}, start: time.Now()}
			chain := &begin{next: &watch{next: up, id: func() string { return "one" }, vitals: v, redactor: func() *redact.Redactor { return nil }}}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://a.example/a", nil)
			if err != nil {
				t.Fatal(err)
			}
			if res, err := chain.RoundTrip(req); err == nil {
				discard(res)
			}
			if err := errors.Join(v.report(t.Context()), v.count(t.Context())); err != nil {
				t.Fatal(err)
			}
			var wantReports []HealthReport
			if test.report != (HealthReport{}) {
				test.report.Integration = "one"
				wantReports = append(wantReports, test.report)
			}
			if diff := cmp.Diff(wantReports, store.reports); diff != "" {
				t.Errorf("reported (-want +got):\n%s", diff)
			}
			var wantCounts []RequestCount
			if test.count != (RequestCount{}) {
				test.count.Integration, test.count.Minute = "one", now.Truncate(time.Minute)
				wantCounts = append(wantCounts, test.count)
			}
			if diff := cmp.Diff(wantCounts, store.counts); diff != "" {
				t.Errorf("counted (-want +got):\n%s", diff)
			}
		})
	}
}
