package outbound

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributaryhq/tributary/internal/vitals"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// RequestMetrics are what requests measure, whatever is below: what a caller waited for and what it got.
type RequestMetrics struct {
	duration *prometheus.HistogramVec
	attempts *prometheus.HistogramVec
	// refusals leave no row in the request log.
	refusals *prometheus.CounterVec
}

// NewRequestMetrics registers the metrics of requests.
func NewRequestMetrics(registerer prometheus.Registerer) (*RequestMetrics, error) {
	m := &RequestMetrics{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "tributary", Subsystem: "outbound", Name: "request_duration_seconds",
			Help: "Time from a request to the head of its answer, all attempts and waits included, by what came " +
				"of it.",
			Buckets: prometheus.ExponentialBuckets(0.005, 3, 9),
		}, []string{"provider", "method", "outcome"}),
		attempts: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "tributary", Subsystem: "outbound", Name: "request_attempts",
			Help:    "How often a request was sent until something came of it.",
			Buckets: []float64{0, 1, 2, 3, 5},
		}, []string{"provider"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "tributary", Subsystem: "outbound", Name: "refusals_total",
			Help: "Requests that were put off, by what: budget or circuit.",
		}, []string{"provider", "by"}),
	}
	for _, c := range []prometheus.Collector{m.duration, m.attempts, m.refusals} {
		if err := registerer.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// refused counts a request that a budget or a circuit put off; nil counts nothing.
func (m *RequestMetrics) refused(provider, by string) {
	if m != nil {
		m.refusals.WithLabelValues(provider, by).Inc()
	}
}

// metered measures requests as their callers see them. Nothing that grows without bound is a label: neither ids nor
// URLs, nor methods that somebody made up.
type metered struct {
	next     http.RoundTripper
	provider contracts.Provider
	in       func() *contracts.Integration
	metrics  *RequestMetrics
	vitals   *vitals.Vitals
	now      func() time.Time
}

func (m *metered) RoundTrip(req *http.Request) (*http.Response, error) {
	started := m.now()
	res, err := m.next.RoundTrip(req)
	call, in := callOf(req), m.in()
	result := resultOf(call.judge(m.provider, res, err))
	if call.sent == 0 && err == nil {
		result = "cached"
		if m.vitals != nil {
			m.vitals.NoteCached(in.ID())
		}
	}
	m.metrics.duration.WithLabelValues(in.Provider(), knownMethod(req), result).Observe(m.now().Sub(started).Seconds())
	m.metrics.attempts.WithLabelValues(in.Provider()).Observe(float64(call.sent))
	return res, err
}

// resultOf is succeeded, deferred, refused (by us, for good), cancelled, or the class of the failure.
func resultOf(verdict judged) string {
	_, deferred := contracts.AsDeferral(verdict.err)
	switch {
	case verdict.err == nil:
		return "succeeded"
	case deferred:
		return "deferred"
	case isControl(verdict.err):
		return "refused"
	case errors.Is(verdict.err, context.Canceled):
		return "cancelled"
	}
	return string(verdict.class)
}

func knownMethod(req *http.Request) string {
	known := []string{
		http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodOptions,
	}
	if method := methodOf(req); slices.Contains(known, method) {
		return method
	}
	return "other"
}
