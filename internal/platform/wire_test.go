package platform_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/tributaryhq/tributary/internal/embedded/natstest"
	"github.com/tributaryhq/tributary/internal/embedded/pgtest"
	"github.com/tributaryhq/tributary/internal/outbound"
	"github.com/tributaryhq/tributary/internal/platform"
	"github.com/tributaryhq/tributary/internal/postgres"
	"github.com/tributaryhq/tributary/internal/postgres/dbsqlc"
	"github.com/tributaryhq/tributary/internal/secret"
	"github.com/tributaryhq/tributary/pkg/contracts"
	"github.com/tributaryhq/tributary/pkg/providertest/upstream"
)

// testbed is everything that a request passes and everything that is told of it: the platform in this process without
// services, an upstream that can be hostile, and what came out in logs, spans, messages and tables.
type testbed struct {
	*platform.Platform
	*upstream.Endpoints
	*upstream.Faults
	t       *testing.T
	server  *httptest.Server
	pool    *pgxpool.Pool
	metrics *prometheus.Registry
	log     *buffer
	spans   *tracetest.InMemoryExporter
	nc      *nats.Conn
	// said are all messages that went through NATS, subjects and headers included.
	said *buffer
	stop func()
	// services run beside; by default none.
	services []string

	mu   sync.Mutex
	sent []*http.Request
}

// newWire starts the platform with one provider, under the key "wired".
func newWire(t *testing.T, provider contracts.Provider, tune ...func(*testbed, *platform.Config)) *testbed {
	t.Helper()
	t.Parallel()
	w := &testbed{
		Endpoints: &upstream.Endpoints{IdempotencyHeader: contracts.DefaultIdempotencyHeader},
		Faults:    upstream.NewFaults(1),
		t:         t, pool: pgtest.DB(t), metrics: prometheus.NewPedanticRegistry(), log: &buffer{}, said: &buffer{},
		spans: tracetest.NewInMemoryExporter(),
	}
	hostile := w.Before(w.Endpoints)
	w.server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		w.sent = append(w.sent, r.Clone(context.WithoutCancel(r.Context())))
		w.mu.Unlock()
		hostile.ServeHTTP(rw, r)
	}))
	t.Cleanup(w.server.Close)
	broker := natstest.New(t)
	w.nc = broker.Connect()
	if _, err := w.nc.Subscribe(">", func(msg *nats.Msg) { w.said.message(msg) }); err != nil {
		t.Fatal(err)
	}
	ring, err := secret.LoadOrCreate(filepath.Join(t.TempDir(), "keys"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	config := platform.Defaults()
	config.NATS, config.Pool, config.Ring, config.Metrics = broker.Connect(), w.pool, ring, w.metrics
	config.Log = slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	config.Tracers = sdktrace.NewTracerProvider(sdktrace.WithSyncer(w.spans))
	config.Providers = map[string]contracts.Provider{"wired": provider}
	// The upstream is on this machine.
	if config.Egress.Networks, err = outbound.ParseNetworks([]string{outbound.LoopbackNetworks}); err != nil {
		t.Fatal(err)
	}
	config.Scheduler.Tick = 50 * time.Millisecond
	for _, change := range tune {
		change(w, &config)
	}
	if w.Platform, err = platform.New(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx, w.services...) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	t.Cleanup(w.stop)
	return w
}

// integration makes one with credentials, and returns it as a handler would get it.
func (w *testbed) integration(name string, credentials any) *contracts.Integration {
	w.t.Helper()
	return w.current(w.insert(name, credentials, struct{}{}, nil))
}

// insert makes an integration that is due at a time, or never.
func (w *testbed) insert(name string, credentials, metadata any, due *time.Time) uuid.UUID {
	w.t.Helper()
	id, now := postgres.NewID(), time.Now()
	err := w.Store.InTx(w.t.Context(), func(tx *postgres.Tx) error {
		_, err := tx.IntegrationInsert(w.t.Context(), dbsqlc.IntegrationInsertParams{
			ID: id, Provider: "wired", Name: name, Metadata: encoded(w.t, metadata), NextSyncAt: due, Now: now,
		})
		if err != nil {
			return err
		}
		_, err = w.Store.PutCredentials(w.t.Context(), tx, id, encoded(w.t, credentials), 0, postgres.Access{At: now})
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

func (w *testbed) current(id uuid.UUID) *contracts.Integration {
	w.t.Helper()
	in, err := w.Integrations.Current(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return in
}

// do sends a request to a path of the upstream; header are names and values by turns.
func (w *testbed) do(ctx context.Context, in *contracts.Integration, method, path, body string, header ...string) (int,
	string, error,
) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, w.server.URL+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := in.HTTP().Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	return res.StatusCode, string(raw), err
}

// requests are those that the upstream was sent, in order of arrival.
func (w *testbed) requests() []*http.Request {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]*http.Request{}, w.sent...)
}

// tables is all that Postgres holds, as text.
func (w *testbed) tables() string {
	w.t.Helper()
	names, err := w.pool.Query(w.t.Context(), `select format('%I', c.relname) from pg_class c where c.relkind in ('r', 'p') and not c.relispartition
		and c.relnamespace = 'public'::regnamespace order by 1`)
	if err != nil {
		w.t.Fatal(err)
	}
	var all strings.Builder
	var tables []string
	for names.Next() {
		var name string
		if err := names.Scan(&name); err != nil {
			w.t.Fatal(err)
		}
		tables = append(tables, name)
	}
	for _, name := range tables {
		var content string
		// What is binary is searched as text too, as far as it is any.
		err := w.pool.QueryRow(w.t.Context(), "select coalesce(string_agg(t::text, E'\\n'), '') from "+name+" t").Scan(
			&content)
		if err != nil {
			w.t.Fatal(err)
		}
		all.WriteString("--- " + name + "\n" + content + "\n")
	}
	return all.String()
}

// spanned is all that spans say.
func (w *testbed) spanned() string {
	var all strings.Builder
	for _, span := range w.spans.GetSpans() {
		raw, err := json.Marshal(map[string]any{
			"name": span.Name, "attributes": span.Attributes, "events": span.Events,
			"status": span.Status,
		})
		if err != nil {
			w.t.Fatal(err)
		}
		all.Write(raw)
		all.WriteByte('\n')
	}
	return all.String()
}

func encoded(t *testing.T, value any) json.RawMessage {
	t.Helper()
	raw, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// buffer keeps what several goroutines write.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) message(msg *nats.Msg) {
	raw, _ := json.Marshal(msg.Header)
	_, _ = b.Write(append(append([]byte(msg.Subject+" "), raw...), append(msg.Data, '\n')...))
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
