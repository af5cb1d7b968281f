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

	"github.com/tributaryhq/tributary/pkg/contracts"
)

// nowhere takes rows and keeps none.
type nowhere struct{}

func (nowhere) InsertRequests(context.Context, []RequestRow) error { return nil }

// BenchmarkChain is what the request log adds to a chain without it, the making of its rows included, over a base that answers at once.
func BenchmarkChain(b *testing.B) {
	body := `{"data":[` + strings.Repeat(`{"id":1,"name":"a name","mail":"a@example.com"},`, 40) + `{}]}`
	base := trip(func(req *http.Request) (*http.Response, error) {
		_, _ = io.Copy(io.Discard, req.Body)
		return answer(http.StatusOK, body), nil
	})
	in := contracts.NewIntegration(contracts.IntegrationFields{ID: "i", Provider: "p", Name: "n", Credentials: json.RawMessage(`{"token":"credential-value"}`)})
	for name, provider := range map[string]contracts.Provider{"plain": plainProvider{}, "declared": declaring{response: []string{"data.*.mail"}}} {
		for _, isLogged := range []bool{false, true} {
			b.Run(name+map[bool]string{false: "/bare", true: "/logged"}[isLogged], func(b *testing.B) {
				config := Config{Base: base}
				ctx, stop := context.WithCancel(b.Context())
				var running sync.WaitGroup
				if isLogged {
					metrics, err := NewRequestLogMetrics(prometheus.NewRegistry())
					if err != nil {
						b.Fatal(err)
					}
					config.Requests = NewRequestLog(nowhere{}, DefaultRequestLogSettings(), metrics, slog.New(slog.DiscardHandler))
					running.Go(func() { config.Requests.Run(ctx) })
				}
				chain := config.Chain(Target{Provider: provider, Integration: func() *contracts.Integration { return in }})
				b.ReportAllocs()
				for b.Loop() {
					req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, "https://api.example.com/v1/things?page=2", strings.NewReader(body))
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
