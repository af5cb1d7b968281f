package outbound

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/tributaryhq/tributary/pkg/contracts"
)

func TestMetered(t *testing.T) {
	t.Parallel()
	cached := func(req *http.Request) (*http.Response, error) {
		callOf(req).sent = 0
		return answering(200)(req)
	}
	for name, test := range map[string]struct {
		method  string
		answers []func(*http.Request) (*http.Response, error)
		want    string
	}{
		"a success": {
			"GET",
			[]func(*http.Request) (*http.Response, error){answering(200)},
			"GET succeeded, 1 attempts",
		},
		"at last": {
			"GET",
			[]func(*http.Request) (*http.Response, error){answering(503), answering(200)},
			"GET succeeded, 2 attempts",
		},
		"down": {
			"GET",
			[]func(*http.Request) (*http.Response, error){answering(503)},
			"GET upstream, 3 attempts",
		},
		"wrong": {
			"POST",
			[]func(*http.Request) (*http.Response, error){answering(404)},
			"POST client, 1 attempts",
		},
		"throttled": {
			"POST",
			[]func(*http.Request) (*http.Response, error){answering(429)},
			"POST deferred, 1 attempts",
		},
		"never let out": {
			"GET",
			[]func(*http.Request) (*http.Response, error){fails(contracts.Permanent(errors.New("no")))},
			"GET refused, 1 attempts",
		},
		"given up": {
			"GET",
			[]func(*http.Request) (*http.Response, error){fails(context.Canceled)},
			"GET cancelled, 1 attempts",
		},
		"kept from before": {"GET", []func(*http.Request) (*http.Response, error){cached}, "GET cached, 0 attempts"},
		"a method of its own": {
			"PROPFIND",
			[]func(*http.Request) (*http.Response, error){answering(200)},
			"other succeeded, 1 attempts",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				registry := prometheus.NewPedanticRegistry()
				metrics, err := NewRequestMetrics(registry)
				if err != nil {
					t.Fatal(err)
				}
				up := &script{t: t, answers: test.answers, start: time.Now()}
				in := contracts.NewIntegration(contracts.IntegrationFields{ID: "one", Provider: "shop"})
				sent := trip(func(req *http.Request) (*http.Response, error) {
					callOf(req).sent++
					return up.RoundTrip(req)
				})
				chain := &begin{next: &metered{
					next: &retry{base: sent, now: time.Now}, in: func() *contracts.Integration {
						return in
					}, metrics: metrics, now: time.Now,
				}}
				req, err := http.NewRequestWithContext(t.Context(), test.method, "http://a.example/secret?id=7", nil)
				if err != nil {
					t.Fatal(err)
				}
				if res, err := chain.RoundTrip(req); err == nil {
					discard(res)
				}
				families, err := registry.Gather()
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(test.want, toldBy(families)); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		})
	}
}

// toldBy is what the metrics say of one request of the provider "shop".
func toldBy(families []*dto.MetricFamily) string {
	method, outcome, attempts := "", "", 0.0
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				switch label.GetName() {
				case "method":
					method = label.GetValue()
				case "outcome":
					outcome = label.GetValue()
				default:
					if label.GetValue() != "shop" {
						return fmt.Sprintf("the label %s is %q", label.GetName(), label.GetValue())
					}
				}
			}
			if family.GetName() == "tributary_outbound_request_attempts" {
				attempts = metric.GetHistogram().GetSampleSum()
			}
		}
	}
	return fmt.Sprintf("%s %s, %.0f attempts", method, outcome, attempts)
}
