package outbound

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributaryhq/tributary/internal/requestlog"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// nowhere takes rows and keeps none.
type nowhere struct{}

func (nowhere) InsertRequests(context.Context, []requestlog.Row) error { return nil }

// declaring is a provider that declares what is secret.
type declaring struct{ contracts.Provider }

func (declaring) SensitiveResponseFields() []string { return []string{"data.*.mail"} }

// BenchmarkChain is what the request log adds to a chain without it, the making of its rows included, over a base that
// answers at once.
func BenchmarkChain(b *testing.B) {
	body := `{"data":[` + strings.Repeat(`{"id":1,"name":"a name","mail":"a@example.com"},`, 40) + `{}]}`
	base := trip(func(req *http.Request) (*http.Response, error) {
		_, _ = io.Copy(io.Discard, req.Body)
		return answer(http.StatusOK, body), nil
	})
	in := contracts.NewIntegration(contracts.IntegrationFields{
		ID: "i", Provider: "p", Name: "n",
		Credentials: json.RawMessage(`{"token":"credential-value"}`),
	})
	for name, provider := range map[string]contracts.Provider{"plain": plainProvider{}, "declared": declaring{}} {
		for _, isLogged := range []bool{false, true} {
			b.Run(name+map[bool]string{false: "/bare", true: "/logged"}[isLogged], func(b *testing.B) {
				config := Config{Base: base}
				ctx, stop := context.WithCancel(b.Context())
				var running sync.WaitGroup
				if isLogged {
					metrics, err := requestlog.NewMetrics(prometheus.NewRegistry())
					if err != nil {
						b.Fatal(err)
					}
					config.Requests = requestlog.New(nowhere{}, requestlog.DefaultSettings(), metrics,
						slog.New(slog.DiscardHandler))
					running.Go(func() { config.Requests.Run(ctx) })
				}
				chain := config.Chain(Target{Provider: provider, Integration: func() *contracts.Integration {
					return in
				}})
				b.ReportAllocs()
				for b.Loop() {
					req, err := http.NewRequestWithContext(b.Context(), http.MethodPost,
						"https://api.example.com/v1/things?page=2", strings.NewReader(body))
					if err != nil {
						b.Fatal(err)
					}
					res, err := chain.RoundTrip(req)
					if err != nil {
						b.Fatal(err)
					}
					_, _ = io.Copy(io.Discard, res.Body)
					_ = res.Body.Close()
				}
				stop()
				running.Wait()
			})
		}
	}
}
