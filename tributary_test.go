package tributary_test

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"

	"github.com/tributaryhq/tributary"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// provider is one that is never called.
type provider struct{ contracts.Provider }

// complete is a configuration that lacks nothing.
func complete(t *testing.T) tributary.Config {
	t.Helper()
	keys, err := tributary.ParseKeys(t.Context(), "test:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=", nil)
	if err != nil {
		t.Fatal(err)
	}
	c := tributary.Config{
		Postgres: &pgxpool.Pool{}, NATS: &nats.Conn{}, Keys: keys, Providers: tributary.Providers{"acme": provider{}},
		Services: tributary.Services(),
	}
	c.Webhooks.Addr, c.OAuth.Addr, c.OAuth.URL = ":8090", ":8082", "https://app.example.com"
	return c
}

// TestRefusedConfigurations breaks a configuration at each place. The error names the field, and what to do about it.
func TestRefusedConfigurations(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		want, advice string
		change       func(*tributary.Config)
	}{
		{"Services is missing", "tributary.Services()", func(c *tributary.Config) { c.Services = nil }},
		{`Services has "scheduling"`, "scheduler, syncer", func(c *tributary.Config) {
			c.Services = []string{"scheduling"}
		}},
		{"NATS is missing", "tributary.NATSOptions", func(c *tributary.Config) { c.NATS = nil }},
		{"Postgres is missing", "tributary.PreparePool", func(c *tributary.Config) { c.Postgres = nil }},
		{"Keys is missing", "tributary.ParseKeys", func(c *tributary.Config) { c.Keys = nil }},
		{"Providers is missing", "tributary.Providers{", func(c *tributary.Config) { c.Providers = nil }},
		{"Webhooks.Addr is missing", ":8090", func(c *tributary.Config) { c.Webhooks.Addr = "" }},
		{"OAuth.URL is missing", "https://app.example.com", func(c *tributary.Config) { c.OAuth.URL = "" }},
		{"Replicas is 2", "3 or 5", func(c *tributary.Config) { c.Replicas = 2 }},
		{"Concurrency is -1", "0 means the default", func(c *tributary.Config) { c.Concurrency = -1 }},
		{"Retention.Operations is 999999", "1 to 36500", func(c *tributary.Config) {
			c.Retention.Operations = 999_999
		}},
		{"Retention.Items is -1", "0 means the default", func(c *tributary.Config) { c.Retention.Items = -1 }},
		{"DrainDelay is -1ns", "0s to 1h0m0s", func(c *tributary.Config) { c.DrainDelay = -1 }},
		{"LagBound is 1h0m0s", "0s to 5m0s", func(c *tributary.Config) { c.LagBound = time.Hour }},
		{"AllowNetworks", "10.1.0.0/16", func(c *tributary.Config) { c.AllowNetworks = []string{"home"} }},
		{"TrustedProxies", "10.1.0.0/16", func(c *tributary.Config) { c.TrustedProxies = []string{"home"} }},
		{"Circuits of acme", "count:5", func(c *tributary.Config) { c.Circuits = map[string]string{"acme": "often"} }},
	} {
		config := complete(t)
		tt.change(&config)
		_, err := tributary.New(config)
		if err == nil || !strings.HasPrefix(err.Error(), "tributary.Config."+tt.want) ||
			!strings.Contains(err.Error(), tt.advice) {
			t.Errorf("the error is %v, want tributary.Config.%s… with %q", err, tt.want, tt.advice)
		}
	}
}

// TestCompleteConfigurations are taken: all services, and the one that needs no database.
func TestCompleteConfigurations(t *testing.T) {
	t.Parallel()
	config := complete(t)
	if _, err := tributary.New(config); err != nil {
		t.Error(err)
	}
	config.Postgres, config.Services = nil, []string{tributary.WebhookIngress}
	r, err := tributary.New(config)
	if err != nil {
		t.Fatal(err)
	}
	if checks := r.Readiness(); len(checks) != 1 || checks[0].Err == nil {
		t.Errorf("a runtime that has not started is ready: %v", checks)
	}
}
