package outbound

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tributaryhq/tributary/internal/circuit"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// oneCell is the cells of a broker that is this process alone, for one key.
type oneCell struct {
	value    []byte
	revision uint64
}

func (c *oneCell) Read(context.Context, string) ([]byte, uint64, error) {
	return c.value, c.revision, nil
}

func (c *oneCell) Write(_ context.Context, _ string, value []byte, revision uint64) (uint64, bool, error) {
	if revision != c.revision {
		return 0, false, nil
	}
	c.value, c.revision = value, revision+1
	return c.revision, true, nil
}

func (c *oneCell) Watch(context.Context, string, func(string, []byte, uint64)) error { return nil }
func (c *oneCell) Bounds() (earliest, latest time.Time, known bool) {
	return time.Now(), time.Now(), true
}
func (c *oneCell) Refresh(context.Context) error { return nil }

// TestBreaker says what an exchange means for a circuit: it lets one failure open it, and the exchange probe.
func TestBreaker(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		exchange trip
		// reason is that of the circuit's last transition.
		reason string
	}{
		"a success closes":       {answering(http.StatusOK), circuit.ReasonProbeAnswered},
		"a refusal answers, too": {answering(http.StatusForbidden), circuit.ReasonProbeAnswered},
		"a throttle answers":     {answering(http.StatusTooManyRequests), circuit.ReasonProbeAnswered},
		"a failure opens anew":   {answering(http.StatusBadGateway), circuit.ReasonProbeFailed},
		"so does no connection":  {fails(errors.New("refused")), circuit.ReasonProbeFailed},
		"a deferral says nothing": {
			fails(contracts.RetryAfter(time.Hour, contracts.ErrBudgetExhausted)), circuit.ReasonFailures,
		},
		"nor does a caller that gives up": {fails(context.Canceled), circuit.ReasonFailures},
		"nor does what never left":        {fails(&unsentError{io.ErrUnexpectedEOF}), circuit.ReasonFailures},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { probeBy(t, test.exchange, test.reason) })
		})
	}
}

func probeBy(t *testing.T, exchange trip, reason string) {
	t.Helper()
	registry := prometheus.NewRegistry()
	metrics, err := NewRequestMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	counted, err := circuit.NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	cell, settings := &oneCell{}, circuit.DefaultSettings()
	settings.Strategy, settings.Count = circuit.ByCount, 1
	circuits := circuit.New(circuit.Config{
		Cells: cell, Clock: cell, Settings: settings, Log: slog.New(slog.DiscardHandler), Metrics: counted,
		Now: time.Now,
	})
	in := contracts.NewIntegration(contracts.IntegrationFields{ID: "i", Provider: "p"})
	send := func(exchange trip) error {
		b := &breaker{base: exchange, circuits: circuits, metrics: metrics, target: Target{
			Integration: func() *contracts.Integration { return in }, Settings: func() Settings { return Settings{} },
		}}
		_, err := b.RoundTrip(request(t, http.MethodGet, "https://example.com/", nil))
		return err
	}
	_ = send(answering(http.StatusServiceUnavailable))
	if err := send(exchange); !errors.Is(err, contracts.ErrCircuitOpen) {
		t.Errorf("an open circuit lets a request through: %v", err)
	}
	if n := testutil.ToFloat64(metrics.refusals.WithLabelValues("p", "circuit")); n != 1 {
		t.Errorf("%v refusals are counted, want 1", n)
	}
	<-time.After(settings.Cooldown)
	if err := send(exchange); errors.Is(err, contracts.ErrCircuitOpen) {
		t.Errorf("no request probes: %v", err)
	}
	state, err := circuits.State(t.Context(), "p", "i")
	if err != nil || state.Reason != reason || state.Open != (reason != circuit.ReasonProbeAnswered) {
		t.Errorf("the circuit is %+v, %v, want %q", state, err, reason)
	}
}
