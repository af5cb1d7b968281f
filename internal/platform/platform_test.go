package platform_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/pkg/contracts"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// numbers enumerates the numbers below n.
type numbers struct {
	contracts.NoCredentials
	contracts.NoMetadata
	contracts.MaxNumber
	n int
}

type number struct{ N int }

func (numbers) Name() string                           { return "Numbers" }
func (numbers) DefaultSyncInterval() time.Duration     { return time.Hour }
func (numbers) DefaultRateLimit() *contracts.RateLimit { return nil }

func (p numbers) Sync(ctx context.Context, _ *contracts.Integration, session contracts.SyncSession) error {
	for n := range p.n {
		if err := session.Dispatch(ctx, number{n}, n, fmt.Sprint(n)); err != nil {
			return err
		}
	}
	return nil
}

// TestOneProcess runs all services in this process, and looks at what they tell of themselves.
func TestOneProcess(t *testing.T) {
	t.Parallel()
	spans := tracetest.NewInMemoryExporter()
	config := platform.Defaults()
	config.NATS, config.Pool = natstest.New(t).Connect(), pgtest.DB(t)
	config.Providers = map[string]contracts.Provider{"numbers": numbers{n: 1000}}
	metrics := prometheus.NewPedanticRegistry()
	config.Metrics = metrics
	config.Tracers = sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	config.Scheduler.Tick = 50 * time.Millisecond
	p, err := platform.New(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx, platform.Services()...) }()
	now := time.Now()
	id := postgres.NewID()
	_, err = p.Store.IntegrationInsert(ctx, dbsqlc.IntegrationInsertParams{ID: id, Provider: "numbers", Name: "n", Metadata: []byte("{}"), NextSyncAt: &now, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	for {
		row, err := p.Store.IntegrationGet(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		if row.SyncCursor != nil {
			break
		}
		<-time.After(10 * time.Millisecond)
	}
	// No handler: everything is in the records.
	if n, err := p.Store.RecordCount(ctx, id); err != nil || n != 1000 {
		t.Errorf("%d records, %v; want 1000", n, err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("stopped with %v", err)
	}
	problems, err := testutil.GatherAndLint(metrics)
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range problems {
		t.Errorf("metric %s: %s", problem.Metric, problem.Text)
	}
	wantOneTrace(t, spans.GetSpans())
}

// wantOneTrace wants the run's trace to go from its opening to its close.
func wantOneTrace(t *testing.T, spans tracetest.SpanStubs) {
	t.Helper()
	traces := map[string]string{}
	for _, span := range spans {
		traces[span.Name] = span.SpanContext.TraceID().String()
	}
	want := traces["open run"]
	for _, name := range []string{"process syncer-numbers", "process worker-shared-numbers", "process worker-bulk-numbers", "close run"} {
		if want == "" || traces[name] != want {
			t.Errorf("%q is in trace %q, the run's is %q", name, traces[name], want)
		}
	}
}

func TestBadProvidersAreRefused(t *testing.T) {
	t.Parallel()
	config := platform.Defaults()
	config.Providers = map[string]contracts.Provider{"Bad Key": numbers{}}
	if _, err := platform.New(t.Context(), config); err == nil {
		t.Error("a key with a space was accepted")
	}
}
