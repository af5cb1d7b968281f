package syncer_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// asking is feed with one request to an upstream.
type asking struct{ feed }

func (a asking) SyncIncremental(ctx context.Context, in *contracts.Integration, _ contracts.SyncSession) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://upstream.example/", http.NoBody)
	if err != nil {
		return err
	}
	resp, err := in.HTTP().Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// wire answers requests in the place of upstreams.
type roundTripper func(*http.Request) (*http.Response, error)

func (w roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return w(req) }

// TestWaitInPlaceThatGrows has the end of a wait in place move: the run says until when it waits now, and nothing once
// the request goes on.
func TestWaitInPlaceThatGrows(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	third, goOn := make(chan struct{}), make(chan struct{})
	w := newWorld(t, func(c *platform.Config) {
		c.Providers["feed"] = asking{c.Providers["feed"].(feed)}
		c.Transport = roundTripper(func(req *http.Request) (*http.Response, error) {
			switch calls.Add(1) {
			case 1:
				return nil, contracts.RetryAfter(20*time.Minute, contracts.ErrCircuitOpen)
			case 2:
				return nil, contracts.RetryAfter(40*time.Minute, contracts.ErrCircuitOpen)
			case 3:
				close(third)
				<-goOn
			}
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("")), Request: req}, nil
		})
	})
	run := w.open(t, nil)
	w.due(t, run, run.Wake)
	<-third
	run = w.run(t, run.ID)
	if run.State != "enumerating" || run.WaitingUntil == nil || time.Until(*run.WaitingUntil) < 30*time.Minute || run.WaitingFor != "circuit" {
		t.Errorf("the run is %s and waits until %v for %q", run.State, run.WaitingUntil, run.WaitingFor)
	}
	close(goOn)
	w.awaitAck(t, run)
	if run = w.run(t, run.ID); run.State != "working" || run.WaitingUntil != nil || run.WaitingFor != "" {
		t.Errorf("the run is %s and waits until %v for %q (%s)", run.State, run.WaitingUntil, run.WaitingFor, run.Error)
	}
}
