package platform_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/providertest/upstream"
)

// frugal has a budget of its own.
type frugal struct {
	contracts.NoCredentials
	contracts.NoMetadata
}

func (frugal) Name() string                    { return "Frugal" }
func (frugal) RateLimit() *contracts.RateLimit { return contracts.PerDay(1000) }

// newGuarded is a testbed with a scheduler that sweeps often, and a client of its API that has been answered.
func newGuarded(t *testing.T) (*testbed, *contracts.Integration, *api.Client) {
	t.Helper()
	w := newWire(t, frugal{}, func(w *testbed, c *platform.Config) {
		w.services = []string{platform.SchedulerService}
		c.Control.Housekeeping.Sweep, c.Circuit.Cooldown = 50*time.Millisecond, time.Hour
	})
	in := w.integration("main", struct{}{})
	client := api.New(w.nc, 20*time.Second)
	eventually(t, "no scheduler answers", func() bool {
		_, err := client.RateLimit(t.Context(), "main")
		return err == nil
	})
	return w, in, client
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
		<-time.After(10 * time.Millisecond)
	}
}

func (w *testbed) get(in *contracts.Integration) error {
	_, _, err := w.do(contracts.WithAttempts(w.t.Context(), 1), in, http.MethodGet, "/json/200", "")
	return err
}

// count is the number that a query of one number gives.
func (w *testbed) count(query string) (n int) {
	w.t.Helper()
	if err := w.pool.QueryRow(w.t.Context(), query).Scan(&n); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// TestRateLimitOverride changes the budget of an integration that somebody holds, and lets the change end by itself.
func TestRateLimitOverride(t *testing.T) {
	w, in, client := newGuarded(t)
	if err := w.get(in); err != nil {
		t.Fatal(err)
	}
	status, err := client.SetRateLimit(t.Context(), api.SetRateLimit{Integration: "main", Limit: 1, Window: "24h"})
	if err != nil {
		t.Fatal(err)
	}
	if status.Source != "override" || status.Limit.Limit != 1 || status.Provider.Limit != 1000 || status.Used != 1 || status.Free != 0 {
		t.Errorf("the status is %+v", status)
	}
	eventually(t, "requests go on though the budget was taken away", func() bool { return errors.Is(w.get(in), contracts.ErrBudgetExhausted) })
	until := soon(t, func(until time.Time) error {
		_, err := client.SetRateLimit(t.Context(), api.SetRateLimit{Integration: "main", Limit: 1, Window: "24h", Until: &until})
		return err
	})
	eventually(t, "nothing goes though the override has ended", func() bool { return w.get(in) == nil })
	eventually(t, "an override that has ended is still shown", func() bool {
		status, err := client.RateLimit(t.Context(), "main")
		return err == nil && status.Source == "provider" && w.count("select count(*) from integrations where rate_limit is not null") == 0
	})
	if _, err := client.SetRateLimit(t.Context(), api.SetRateLimit{Integration: "main", Limit: 0, Window: "24h"}); api.CodeOf(err) != api.Invalid {
		t.Errorf("a budget of nothing gives %v", err)
	}
	if _, err := client.SetRateLimit(t.Context(), api.SetRateLimit{Integration: "main", Limit: 1, Window: "1h", Until: &until}); api.CodeOf(err) != api.Invalid {
		t.Errorf("an end in the past gives %v", err)
	}
	if status, err = client.ClearRateLimit(t.Context(), api.ClearRateLimit{Integration: "main"}); err != nil || status.Source != "provider" {
		t.Errorf("after it was cleared: %+v, %v", status, err)
	}
}

// soon asks for something that ends soon, and returns when. An end that has passed when the call arrives is refused, so
// that a slow machine needs a later one.
func soon(t *testing.T, ask func(until time.Time) error) (until time.Time) {
	t.Helper()
	length := 100 * time.Millisecond
	eventually(t, "every end had passed when it arrived", func() bool {
		until = time.Now().Add(length)
		length *= 2
		err := ask(until)
		if err != nil && api.CodeOf(err) != api.Invalid {
			t.Fatal(err)
		}
		return err == nil
	})
	return until
}

// TestCircuitInTheHouse follows a circuit from the first failure to its incident, and has an operator take it in hand.
func TestCircuitInTheHouse(t *testing.T) {
	w, in, client := newGuarded(t)
	w.Always(upstream.ServerError(http.StatusServiceUnavailable))
	for range 10 {
		if err := w.get(in); errors.Is(err, contracts.ErrCircuitOpen) {
			t.Fatal(err)
		}
	}
	asked := len(w.requests())
	err := w.get(in)
	if deferral, ok := contracts.AsDeferral(err); !ok || !errors.Is(err, contracts.ErrCircuitOpen) || deferral.Delay < 30*time.Second {
		t.Errorf("got %v, want a deferral of about a minute", err)
	}
	if len(w.requests()) != asked {
		t.Error("a request has passed an open circuit")
	}
	eventually(t, "no incident is open", func() bool {
		return w.count("select count(*) from incidents where closed_at is null and 'circuit' = any(raised)") == 1
	})
	status, err := client.Circuit(t.Context(), "main")
	if err != nil || status.State != "open" || status.Until == nil {
		t.Errorf("the status is %+v, %v", status, err)
	}
	w.Calm()
	for _, override := range []string{"forced-closed", "disabled"} {
		status, err := client.OverrideCircuit(t.Context(), api.OverrideCircuit{Integration: "main", Override: override})
		if err != nil || status.State != "closed" || status.Override != override || status.Reason != "" || status.Since != nil || status.Until != nil {
			t.Fatalf("the status of one that is %s is %+v, %v", override, status, err)
		}
		eventually(t, "nothing passes a circuit that is "+override, func() bool { return w.get(in) == nil })
	}
	soon(t, func(until time.Time) error {
		_, err := client.OverrideCircuit(t.Context(), api.OverrideCircuit{Integration: "main", Override: "forced-open", Until: &until})
		return err
	})
	eventually(t, "an override that has ended is still there", func() bool {
		return w.count("select count(*) from integrations where circuit_override <> ''") == 0
	})
	eventually(t, "the circuit is not left to itself", func() bool { return errors.Is(w.get(in), contracts.ErrCircuitOpen) })
	if status, err = client.OverrideCircuit(t.Context(), api.OverrideCircuit{Integration: "main"}); err != nil || status.State != "closed" {
		t.Errorf("after it was left to itself: %+v, %v", status, err)
	}
	eventually(t, "nothing passes a circuit that was reset", func() bool { return w.get(in) == nil })
	eventually(t, "the incident is still open", func() bool {
		return w.count("select count(*) from incidents where closed_at is null and 'circuit' = any(raised)") == 0
	})
	if _, err := client.OverrideCircuit(t.Context(), api.OverrideCircuit{Integration: "main", Override: "ajar"}); api.CodeOf(err) != api.Invalid {
		t.Errorf("an unknown override gives %v", err)
	}
}

// What an upstream asks for is heeded, and shown.
func TestUpstreamIsLeftAlone(t *testing.T) {
	w, in, client := newGuarded(t)
	w.Next(1, upstream.TooManyRequests(5*time.Minute))
	_ = w.get(in)
	if err := w.get(in); !errors.Is(err, contracts.ErrBudgetExhausted) {
		t.Errorf("got %v", err)
	}
	status, err := client.RateLimit(context.WithoutCancel(t.Context()), "main")
	if err != nil || status.LeftAloneUntil == nil || time.Until(*status.LeftAloneUntil) < 4*time.Minute {
		t.Errorf("the status is %+v, %v", status, err)
	}
	if status, err = client.ClearRateLimit(t.Context(), api.ClearRateLimit{Integration: "main"}); err != nil || status.LeftAloneUntil != nil {
		t.Errorf("after it was lifted the status is %+v, %v", status, err)
	}
	eventually(t, "nothing is sent though an operator has lifted it", func() bool { return w.get(in) == nil })
}
