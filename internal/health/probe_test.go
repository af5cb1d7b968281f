package health_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributaryhq/tributary/internal/health"
	"github.com/tributaryhq/tributary/internal/integrations"
	"github.com/tributaryhq/tributary/internal/outbound"
	"github.com/tributaryhq/tributary/internal/panics"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/registry"
	"github.com/tributaryhq/tributary/internal/secret"
	"github.com/tributaryhq/tributary/internal/setaside"
	"github.com/tributaryhq/tributary/internal/vitals"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// shop answers its health check as the test says.
type shop struct {
	contracts.NoCredentials
	contracts.NoMetadata
	checked *atomic.Int64
	answer  func(ctx context.Context, in *contracts.Integration) error
}

func (shop) Name() string { return "Shop" }
func (s shop) HealthCheck(ctx context.Context, in *contracts.Integration) error {
	s.checked.Add(1)
	return s.answer(ctx, in)
}

// mute has no health check.
type mute struct {
	contracts.NoCredentials
	contracts.NoMetadata
}

func (mute) Name() string { return "Mute" }

func (w *world) checker(t *testing.T, provider contracts.Provider) *health.Checker {
	t.Helper()
	if provider == nil {
		provider = mute{}
	}
	registry, err := registry.New(map[string]contracts.Provider{"shop": provider})
	if err != nil {
		t.Fatal(err)
	}
	chains := outbound.Config{Vitals: vitals.New(w.Keeper, w.Log, w.Now)}
	loader := integrations.NewLoader(w.Store, registry, integrations.NewFeed(w.Store), w.Log, chains, nil)
	metrics, err := setaside.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	set := &setaside.Set{
		Store: w.Store, Log: w.Log, Metrics: metrics, Now: w.Now, Ready: func(context.Context, setaside.Kind) error { return nil }, Settings: setaside.DefaultSettings(),
	}
	return &health.Checker{Keeper: w.Keeper, Registry: registry, Integrations: loader, SetAside: set}
}

// disable has the upstream fail until the integration is disabled.
func (w *world) disable(t *testing.T) {
	t.Helper()
	w.fails(t, 20)
	w.now = w.now.Add(time.Hour)
	w.fails(t, 50)
	if row := w.row(t); row.Health != health.Disabled {
		t.Fatalf("it is %s", row.Health)
	}
}

func TestProbesOfADisabledIntegration(t *testing.T) {
	t.Parallel()
	down := errors.New("still down")
	for name, test := range map[string]struct {
		provider func(checked *atomic.Int64) contracts.Provider
		// asked is when it is asked, from its being disabled on.
		asked []time.Duration
		want  string
	}{
		"that is still down": {
			func(n *atomic.Int64) contracts.Provider {
				return shop{checked: n, answer: func(context.Context, *contracts.Integration) error { return down }}
			},
			[]time.Duration{5 * time.Minute, 10 * time.Minute, 20 * time.Minute, 40 * time.Minute, 80 * time.Minute, 160 * time.Minute, 320 * time.Minute, 640 * time.Minute},
			"disabled disabled",
		},
		"that panics": {
			func(n *atomic.Int64) contracts.Provider {
				return shop{checked: n, answer: func(context.Context, *contracts.Integration) error { panic("down") }}
			},
			[]time.Duration{5 * time.Minute, 10 * time.Minute},
			"disabled disabled",
		},
		"that may not be asked now": {
			func(n *atomic.Int64) contracts.Provider {
				return shop{checked: n, answer: func(context.Context, *contracts.Integration) error { return contracts.RetryAfter(time.Hour, nil) }}
			},
			[]time.Duration{5 * time.Minute, 10 * time.Minute},
			"disabled disabled",
		},
		"that is back": {
			func(n *atomic.Int64) contracts.Provider {
				return shop{checked: n, answer: func(context.Context, *contracts.Integration) error { return nil }}
			},
			[]time.Duration{5 * time.Minute},
			"active failing",
		},
		"without a health check": {func(*atomic.Int64) contracts.Provider { return mute{} }, nil, "active failing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			var checked atomic.Int64
			c := w.checker(t, test.provider(&checked))
			w.disable(t)
			disabled, asked := w.now, []time.Duration(nil)
			for w.now.Sub(disabled) < 12*time.Hour && (len(asked) < len(test.asked) || len(test.asked) == 0) {
				w.now = w.now.Add(time.Minute)
				before := checked.Load()
				if err := c.Sweep(t.Context()); err != nil {
					t.Fatal(err)
				}
				if checked.Load() > before {
					asked = append(asked, w.now.Sub(disabled))
				}
				if w.row(t).Status == "active" {
					break
				}
			}
			if diff := cmp.Diff(test.asked, asked); diff != "" {
				t.Errorf("asked at (-want +got):\n%s", diff)
			}
			row := w.row(t)
			if got := row.Status + " " + row.Health; got != test.want {
				t.Errorf("it is %q, want %q", got, test.want)
			}
		})
	}
}

// Two schedulers that sweep at the same time ask once.
func TestProbesAreClaimed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var checked atomic.Int64
	c := w.checker(t, shop{checked: &checked, answer: func(context.Context, *contracts.Integration) error { return nil }})
	w.fails(t, 5)
	w.now = w.now.Add(time.Hour)
	failed := make(chan error)
	for range 4 {
		go func() { failed <- c.Sweep(t.Context()) }()
	}
	for range 4 {
		if err := <-failed; err != nil {
			t.Error(err)
		}
	}
	if n := checked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// A provider that is asked through the platform's client need not tell its health besides.
func TestCheck(t *testing.T) {
	t.Parallel()
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(status) }))
	t.Cleanup(server.Close)
	w := newWorld(t)
	var checked atomic.Int64
	c := w.checker(t, shop{checked: &checked, answer: func(ctx context.Context, in *contracts.Integration) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
		if err != nil {
			return err
		}
		res, err := in.HTTP().Do(req)
		if err != nil {
			return err
		}
		if res.Body.Close(); res.StatusCode != http.StatusOK {
			return errors.New(res.Status)
		}
		return nil
	}})
	if told, err := c.Check(t.Context(), w.row(t)); told != nil || err != nil {
		t.Error(told, err)
	}
	status = http.StatusUnauthorized
	if told, err := c.Check(t.Context(), w.row(t)); told == nil || err != nil || !strings.Contains(told.Error(), "401") {
		t.Errorf("it came to %v, %v", told, err)
	}
	if told, err := w.checker(t, mute{}).Check(t.Context(), w.row(t)); !errors.Is(told, health.ErrNotCheckable) {
		t.Errorf("it came to %v, %v", told, err)
	}
}

// A health check and an identity that do not come are left behind soon after their time.
func TestHangingProviders(t *testing.T) {
	t.Parallel()
	held := make(chan struct{})
	t.Cleanup(func() { close(held) })
	ctx, cancel := context.WithCancel(t.Context())
	w := newWorld(t)
	var checked atomic.Int64
	c := w.checker(t, shop{checked: &checked, answer: func(context.Context, *contracts.Integration) error {
		cancel()
		<-held
		return nil
	}})
	if told, err := c.Check(ctx, w.row(t)); !errors.Is(told, panics.ErrLeftBehind) {
		t.Errorf("the health check came to %v, %v", told, err)
	}
	if _, err := health.ResolveIdentity(ctx, silent{held: held}, nil); !errors.Is(err, panics.ErrLeftBehind) {
		t.Errorf("the identity came to %v", err)
	}
}

// silent does not tell whose its credentials are.
type silent struct{ held chan struct{} }

func (s silent) ResolveIdentity(context.Context, *contracts.Integration) (contracts.Identity, error) {
	<-s.held
	return contracts.Identity{}, nil
}

// known tells whose its credentials are, and counts how often it was asked.
type known struct {
	mute
	asked *atomic.Int64
	err   error
}

func (k known) ResolveIdentity(context.Context, *contracts.Integration) (contracts.Identity, error) {
	k.asked.Add(1)
	return contracts.Identity{ID: "7", Username: "ada", Raw: json.RawMessage(`{"api_key":"secret"}`)}, k.err
}

// Whose the credentials are is asked once for each version of them.
func TestIdentity(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ring, err := secret.LoadOrCreate(filepath.Join(t.TempDir(), "keys"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	w.Store = postgres.New(w.pool, ring)
	w.Keeper.Store = w.Store
	var asked atomic.Int64
	down := errors.New("down")
	identify := func(provider contracts.Provider) (*contracts.Identity, error) {
		return w.checker(t, provider).Identity(t.Context(), w.row(t))
	}
	want := func(n int64) {
		t.Helper()
		for range 3 {
			got, err := identify(known{asked: &asked})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&contracts.Identity{ID: "7", Username: "ada"}, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		}
		if asked.Load() != n {
			t.Errorf("asked %d times, want %d", asked.Load(), n)
		}
	}
	put := func(version int64) {
		t.Helper()
		err := w.Store.InTx(t.Context(), func(tx *postgres.Tx) error {
			_, err := w.Store.PutCredentials(t.Context(), tx, w.id, json.RawMessage(`{"token":"t"}`), version, postgres.Access{Who: "ada", Why: "test", At: start})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if got, err := identify(mute{}); got != nil || err != nil {
		t.Errorf("of a provider that can't tell: %v, %v", got, err)
	}
	if _, err := identify(known{asked: &asked, err: down}); !errors.Is(err, down) {
		t.Errorf("it came to %v", err)
	}
	want(2)
	put(0)
	want(3)
	put(1)
	want(4)
	if stored := string(w.row(t).Identity); strings.Contains(stored, "secret") {
		t.Errorf("stored is %s", stored)
	}
}
