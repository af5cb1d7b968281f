package outbound

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributaryhq/tributary/internal/redact"
	"github.com/tributaryhq/tributary/internal/vitals"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// keptReports is a store that remembers.
type keptReports struct {
	reports []vitals.Report
	counts  []vitals.Count
}

func (k *keptReports) ReportHealth(_ context.Context, reports []vitals.Report) ([]vitals.Report, error) {
	k.reports = append(k.reports, reports...)
	return nil, nil
}

func (k *keptReports) CountRequests(_ context.Context, counts []vitals.Count) ([]vitals.Count, error) {
	k.counts = append(k.counts, counts...)
	return nil, nil
}

func TestWhatIsReported(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		answer func(*http.Request) (*http.Response, error)
		report vitals.Report
		count  vitals.Count
	}{
		"a success": {answering(200), vitals.Report{Answered: true, Successes: 1}, vitals.Count{Succeeded: 1}},
		"down": {answering(503), vitals.Report{
			Failed: true, Failures: 1,
			Error: "GET /a: 503 Service Unavailable",
		}, vitals.Count{Upstream: 1}},
		"no connection": {
			fails(errors.New("refused")),
			vitals.Report{Failed: true, Failures: 1, Error: "refused"},
			vitals.Count{Upstream: 1},
		},
		"wrong credentials": {answering(401), vitals.Report{
			Failed: true, Refusals: 1,
			Error: "GET /a: 401 Unauthorized",
		}, vitals.Count{Client: 1}},
		"not found":     {answering(404), vitals.Report{}, vitals.Count{Client: 1}},
		"throttled":     {answering(429), vitals.Report{}, vitals.Count{Throttle: 1}},
		"a deferral":    {fails(contracts.RetryAfter(1, nil)), vitals.Report{}, vitals.Count{}},
		"it never left": {fails(&unsentError{errors.New("no key")}), vitals.Report{}, vitals.Count{}},
		"given up":      {fails(context.Canceled), vitals.Report{}, vitals.Count{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := &keptReports{}
			now := time.Date(2026, 3, 1, 12, 0, 30, 0, time.UTC)
			v := vitals.New(store, slog.New(slog.DiscardHandler), func() time.Time { return now })
			up := &script{t: t, answers: []func(*http.Request) (*http.Response, error){test.answer}, start: time.Now()}
			in := contracts.NewIntegration(contracts.IntegrationFields{ID: "one"})
			chain := &begin{next: &watch{
				next: up, integration: func() *contracts.Integration { return in }, vitals: v,
				now: func() time.Time { return now }, redactor: func() *redact.Redactor { return nil },
			}}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://a.example/a", nil)
			if err != nil {
				t.Fatal(err)
			}
			if res, err := chain.RoundTrip(req); err == nil {
				discard(res)
			}
			ctx, stop := context.WithCancel(t.Context())
			stop()
			v.Run(ctx) // what is left at the end is reported
			var wantReports []vitals.Report
			if test.report != (vitals.Report{}) {
				test.report.Integration = "one"
				wantReports = append(wantReports, test.report)
			}
			if diff := cmp.Diff(wantReports, store.reports); diff != "" {
				t.Errorf("reported (-want +got):\n%s", diff)
			}
			var wantCounts []vitals.Count
			if test.count != (vitals.Count{}) {
				test.count.Integration, test.count.Minute = "one", now.Truncate(time.Minute)
				wantCounts = append(wantCounts, test.count)
			}
			if diff := cmp.Diff(wantCounts, store.counts); diff != "" {
				t.Errorf("counted (-want +got):\n%s", diff)
			}
		})
	}
}
