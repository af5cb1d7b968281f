package platform_test

import (
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/secret"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

// What the ring of a process seals is among the metrics of the process.
func TestSealsAreAmongTheMetrics(t *testing.T) {
	t.Parallel()
	ring, err := secret.LoadOrCreate(filepath.Join(t.TempDir(), "keys"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	config := platform.Defaults()
	config.NATS, config.Pool, config.Ring = natstest.New(t).Connect(), pgtest.DB(t), ring
	config.Providers = map[string]contracts.Provider{"numbers": numbers{n: 1}}
	metrics := prometheus.NewPedanticRegistry()
	config.Metrics = metrics
	if _, err := platform.New(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ring.Seal([]byte("text"), secret.Place{}); err != nil {
		t.Fatal(err)
	}
	if n, err := testutil.GatherAndCount(metrics, "tributary_secret_seals_total"); n != 1 || err != nil {
		t.Errorf("%d keys have sealed something, %v; want 1", n, err)
	}
}
