package platform_test

import (
	"encoding/json"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tributaryhq/tributary/internal/api"
	"github.com/tributaryhq/tributary/internal/deferral"
	"github.com/tributaryhq/tributary/internal/outbound"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// asked answers requests in the place of upstreams.
type asked func(*http.Request) *http.Response

func (a asked) RoundTrip(req *http.Request) (*http.Response, error) { return a(req), nil }

// TestWaitsInPlaceEndEarly has an upstream ask a request that waits in place for ten minutes. An operator changes the
// integration, or lifts that for one with the same budget: the request is sent again.
func TestWaitsInPlaceEndEarly(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*testing.T, *platform.Platform, *api.Client){
		"integrations update": func(t *testing.T, _ *platform.Platform, client *api.Client) {
			t.Helper()
			update := api.UpdateIntegration{Integration: "waiting", Metadata: json.RawMessage(`{}`)}
			if _, err := client.UpdateIntegration(t.Context(), update); err != nil {
				t.Fatal(err)
			}
		},
		"rate-limit clear of another": func(t *testing.T, p *platform.Platform, client *api.Client) {
			t.Helper()
			clearAnother(t, p, client, "waiting-too")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sent, waits, answered := atomic.Int32{}, make(chan struct{}), make(chan error, 1)
			config := platform.Defaults()
			config.Providers = map[string]contracts.Provider{"waiting": waitingOnce{
				numbers: numbers{n: 1}, syncs: new(atomic.Pointer[error]), items: new(atomic.Pointer[error]), hooks: new(atomic.Pointer[error]),
			}}
			config.Transport = asked(func(req *http.Request) *http.Response {
				if sent.Add(1) > 1 {
					return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: req}
				}
				return &http.Response{StatusCode: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"600"}}, Body: http.NoBody, Request: req}
			})
			p, id := inHouse(t, &config)
			client := api.New(config.NATS, 20*time.Second)
			eventually(t, "a scheduler that answers", func() bool {
				_, err := client.Providers(t.Context())
				return err == nil
			})
			in, err := p.Integrations.Current(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			ctx := outbound.WithPatience(t.Context(), &outbound.Patience{
				Most: time.Hour, Bounds: deferral.Default(),
				Waits: func(time.Time, error) (func(), bool) { close(waits); return func() {}, true },
			})
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://upstream.example/", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				res, err := in.HTTP().Do(req)
				if err == nil {
					err = res.Body.Close()
				}
				answered <- err
			}()
			<-waits
			end(t, p, client)
			select {
			case err := <-answered:
				if err != nil || sent.Load() != 2 {
					t.Errorf("%d requests, the last ended with %v", sent.Load(), err)
				}
			case <-time.After(time.Minute):
				t.Fatal("it waits on")
			}
		})
	}
}
