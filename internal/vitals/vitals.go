// Package vitals keeps in memory what the requests of this process say about their upstreams, and reports it in
// batches. Package outbound notes each attempt here; package health is the store.
package vitals

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/tributaryhq/tributary/internal/foreign"
	"github.com/tributaryhq/tributary/internal/watchdog"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

const (
	// reportEvery is how often health is reported: often enough for an outage to be known within seconds.
	reportEvery = time.Second
	// countEvery is how often the counts of requests are written.
	countEvery = 10 * time.Second
	// lastReport is how long the last report of a process that stops may take.
	lastReport = 5 * time.Second
	// mostMinutes is how many counts are kept by the minute while the store is away. More are added up by the hour: an
	// outage of a day takes 24 counts for each integration.
	mostMinutes = 20_000
	// longestError is how many bytes of an error are reported.
	longestError = 300
)

// Report is what the requests of one process say about an integration's upstream since the previous report. Only
// successes, failures of the upstream, and answers with status 401 count.
type Report struct {
	// Integration is its id.
	Integration string
	// Answered says that there was a success: failures reported before do not count on.
	Answered bool
	// Failed says that there was a failure or a refusal: successes reported before do not count on.
	Failed bool
	// Failures are those of the upstream since the last success, and Refusals the answers with status 401.
	Failures, Refusals int
	// Successes are those since the last failure or refusal.
	Successes int
	// Error is the last failure, without secrets.
	Error foreign.Text
}

// then joins a report with a newer one.
func (r Report) then(newer Report) Report {
	if !newer.Answered {
		newer.Failures, newer.Refusals = newer.Failures+r.Failures, newer.Refusals+r.Refusals
	}
	if !newer.Failed {
		newer.Successes, newer.Error = newer.Successes+r.Successes, r.Error
	}
	newer.Answered, newer.Failed = newer.Answered || r.Answered, newer.Failed || r.Failed
	return newer
}

// Count is how many requests of an integration went how in a minute.
type Count struct {
	Integration string
	// Minute is when the minute begins.
	Minute time.Time
	// Succeeded and the classes of failure count attempts that left.
	Succeeded, Upstream, Throttle, Client, Unknown int64
	// Cached are requests that were answered without one.
	Cached int64
	// Took is the time of all attempts together.
	Took time.Duration
}

func (c *Count) add(d Count) {
	c.Succeeded, c.Upstream, c.Throttle = c.Succeeded+d.Succeeded, c.Upstream+d.Upstream, c.Throttle+d.Throttle
	c.Client, c.Unknown, c.Cached, c.Took = c.Client+d.Client, c.Unknown+d.Unknown, c.Cached+d.Cached, c.Took+d.Took
}

// Store keeps the health of integrations, over all processes.
type Store interface {
	// ReportHealth adds to what was reported before. Integrations that are gone are passed over. It returns those that
	// are to be reported again, and why.
	ReportHealth(ctx context.Context, reports []Report) (later []Report, err error)
	// CountRequests adds to what was counted before. It returns those that are to be counted again, and why.
	CountRequests(ctx context.Context, counts []Count) (later []Count, err error)
}

// Vitals keeps the outcomes of the requests of a process in memory and reports them in batches, so that a request costs
// no query. It is safe for concurrent use.
type Vitals struct {
	store Store
	log   *slog.Logger
	now   func() time.Time

	mu      sync.Mutex
	reports map[string]Report
	counts  map[countKey]*Count
}

// countKey names a counter.
type countKey struct {
	integration string
	minute      int64
}

// New returns vitals that report to a store while [Vitals.Run] runs.
func New(store Store, log *slog.Logger, now func() time.Time) *Vitals {
	return &Vitals{store: store, log: log, now: now, reports: map[string]Report{}, counts: map[countKey]*Count{}}
}

// Run reports until ctx ends, and then what is left.
func (v *Vitals) Run(ctx context.Context) {
	reports, counts := time.NewTicker(reportEvery), time.NewTicker(countEvery)
	defer reports.Stop()
	defer counts.Stop()
	for lost := false; ; {
		var err error
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastReport)
			defer cancel()
			if err := errors.Join(v.report(last), v.count(last)); err != nil {
				v.log.Warn("could not report the health of integrations before the end", "error", err)
			}
			return
		case <-reports.C:
			err = watchdog.Step(ctx, "report health", func(ctx context.Context) error { return v.report(ctx) })
		case <-counts.C:
			err = watchdog.Step(ctx, "count requests", func(ctx context.Context) error { return v.count(ctx) })
		}
		if err != nil && !lost && ctx.Err() == nil {
			v.log.Warn("could not report the health of integrations; it is kept and reported later", "error", err)
		}
		lost = err != nil
	}
}

// Attempt is what became of an attempt that left.
type Attempt struct {
	// Class is empty for a success.
	Class contracts.FailureClass
	// Status is that of the answer, 0 without one.
	Status int
	Took   time.Duration
	// Failure is called for the text of a failure, without secrets.
	Failure func() string
}

// Note adds what became of an attempt.
func (v *Vitals) Note(integration string, a Attempt) {
	news := Report{Integration: integration}
	count := Count{Took: a.Took}
	switch {
	case a.Class == "":
		news.Answered, news.Successes, count.Succeeded = true, 1, 1
	case a.Class == contracts.FailureUpstream:
		news.Failed, news.Failures, count.Upstream = true, 1, 1
	case a.Status == http.StatusUnauthorized && a.Class == contracts.FailureClient:
		news.Failed, news.Refusals, count.Client = true, 1, 1
	case a.Class == contracts.FailureClient:
		count.Client = 1
	case a.Class == contracts.FailureThrottle:
		count.Throttle = 1
	default:
		count.Unknown = 1
	}
	if news.Failed {
		news.Error = foreign.Clean(a.Failure(), longestError)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if news.Answered || news.Failed {
		v.reports[integration] = v.reports[integration].then(news)
	}
	v.add(integration, count)
}

// NoteCached adds a request that was answered without an attempt.
func (v *Vitals) NoteCached(integration string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.add(integration, Count{Cached: 1})
}

func (v *Vitals) add(integration string, news Count) {
	minute := v.now().Truncate(time.Minute)
	key := countKey{integration, minute.Unix()}
	count := v.counts[key]
	if count == nil {
		count = &Count{Integration: integration, Minute: minute}
		v.counts[key] = count
	}
	count.add(news)
}

func (v *Vitals) report(ctx context.Context) error {
	v.mu.Lock()
	taken := v.reports
	v.reports = make(map[string]Report, len(taken))
	v.mu.Unlock()
	if len(taken) == 0 {
		return nil
	}
	batch := make([]Report, 0, len(taken))
	for _, report := range taken {
		batch = append(batch, report)
	}
	later, err := v.store.ReportHealth(ctx, batch)
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, older := range later {
		newer := v.reports[older.Integration]
		newer.Integration = older.Integration
		v.reports[older.Integration] = older.then(newer)
	}
	return err
}

func (v *Vitals) count(ctx context.Context) error {
	v.mu.Lock()
	taken := v.counts
	v.counts = make(map[countKey]*Count, len(taken))
	v.mu.Unlock()
	if len(taken) == 0 {
		return nil
	}
	batch := make([]Count, 0, len(taken))
	for _, count := range taken {
		batch = append(batch, *count)
	}
	later, err := v.store.CountRequests(ctx, batch)
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, older := range later {
		if len(later) > mostMinutes {
			older.Minute = older.Minute.Truncate(time.Hour)
		}
		key := countKey{older.Integration, older.Minute.Unix()}
		if newer := v.counts[key]; newer != nil {
			older.add(*newer)
		}
		v.counts[key] = &older
	}
	return err
}
